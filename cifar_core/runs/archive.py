"""A finished run as one zip: everything that another machine needs to have it as a run like any other.

run.json          kind, schema, id
config.json  status.json  environment.json  metrics.jsonl  summary.txt  evaluation.npz  model.tflite  best.keras
figures.html      the curves, to look at in any browser, without a network
"""

from __future__ import annotations

import io
import json
import zipfile

from cifar_core import charts
from cifar_core.errors import RunError
from cifar_core.runs import Run, curves
from cifar_core.untrusted import shown_name

KIND, SCHEMA = "cifar-studio-run", 1
MANIFEST, FIGURES = "run.json", "figures.html"
FILES = (
    "config.json",
    "status.json",
    "environment.json",
    "metrics.jsonl",
    "summary.txt",
    "evaluation.npz",
    "model.tflite",
    "best.keras",
)
_STORED = (".npz", ".keras")  # packed already
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>body{{font-family:sans-serif;max-width:960px;margin:2rem auto;background:#fff}}</style></head>
<body><h1>{title}</h1>{figures}</body></html>
"""


def missing(run: Run) -> str | None:
    """Return the first file that the archive of `run` needs and the run does not have, None if it has all."""
    return next((name for name in FILES if not (run.path / name).is_file()), None)


def pack(run: Run) -> bytes:
    """Return the zip. Raises RunError if the run is not finished or lacks a file."""
    if run.state != "finished":
        raise RunError(f"Run {run.id} is {run.state}; only a finished run can be exported.")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(MANIFEST, json.dumps({"kind": KIND, "schema": SCHEMA, "id": run.id}, indent=1))
        for name in FILES:
            try:
                content = (run.path / name).read_bytes()
            except OSError as error:
                raise RunError(f"Run {run.id} has no readable {name} ({error.strerror}); train it anew.") from None
            method = zipfile.ZIP_STORED if name.endswith(_STORED) else zipfile.ZIP_DEFLATED
            archive.writestr(name, content, method)
        archive.writestr(FIGURES, figures(run))
    return packed.getvalue()


def figures(run: Run) -> str:
    """Return the run's curves as one HTML page that needs nothing else."""
    found_curves = curves.curves(run.metrics())
    drawn = [charts.metric_figure(found_curves, metric) for metric in ("accuracy", "loss")]
    drawn += [charts.small_figure(found_curves, name) for name in ("learning_rate", "images_per_second")]
    parts = [
        figure.to_html(full_html=False, include_plotlyjs=number == 0, config={"displaylogo": False})
        for number, figure in enumerate(drawn)
    ]
    return _PAGE.format(title=f"Run {shown_name(run.id)}", figures="".join(parts))
