"""A finished run as one HTML page that needs nothing else: figures, tables, pictures, no network."""

from __future__ import annotations

import html
import time
from collections.abc import Iterable, Sequence

import numpy as np
import plotly.graph_objects as go
from PIL import Image

from cifar_core import charts
from cifar_core.charts import evaluation as evaluation_charts
from cifar_core.charts import inference as inference_charts
from cifar_core.config import KNOBS
from cifar_core.data.cifar10 import CLASSES
from cifar_core.evaluation import assessment, mistakes, robustness, story
from cifar_core.evaluation.assessment import Assessment
from cifar_core.evaluation.predictions import Predictions
from cifar_core.runs import Run, curves

_PICTURES = 16
_SIDE = 96  # pixels of a picture, so that a browser need not enlarge it
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data: blob:; style-src 'unsafe-inline';
 script-src 'unsafe-inline'">
<style>
body{{font-family:system-ui,sans-serif;max-width:1080px;margin:2rem auto;padding:0 1rem;color:#1d2733;background:#fff}}
table{{border-collapse:collapse;font-variant-numeric:tabular-nums}}td,th{{padding:.25rem .8rem;border-bottom:1px solid
#dfe2dc;text-align:right}}td:first-child,th:first-child{{text-align:left}}
.pictures{{display:flex;flex-wrap:wrap;gap:.8rem}}.pictures figure{{margin:0;width:104px;font-size:.78rem}}
.problem{{border-left:4px solid #c2410c;padding-left:.8rem}}.hint{{border-left:4px solid #d9a520;padding-left:.8rem}}
.fine{{border-left:4px solid #1b9e77;padding-left:.8rem}}small{{color:#5b6570}}button{{margin-right:.4rem}}
</style></head><body>
{body}
<script>
for (const chart of document.querySelectorAll(".plotly-graph-div")) {{
  const row = document.createElement("div");
  for (const format of ["png", "svg"]) {{
    const button = document.createElement("button");
    button.textContent = format.toUpperCase();
    button.onclick = () => Plotly.downloadImage(chart, {{format, filename: "figure", scale: format == "png" ? 2 : 1}});
    row.append(button);
  }}
  chart.after(row);
}}
</script></body></html>
"""


def build(run: Run) -> str:
    """Return the report of `run`, some 5 MB of HTML. Raises RunError if the run is not finished or damaged."""
    found = assessment.of(run)
    figures: list[go.Figure] = []
    parts = [
        f"<h1>Run {_text(run.id)}</h1>",
        f"<p>Images: {_text(found.said.dataset)}. Initial weights: {_text(run.result.get('weights', 'unknown'))}. "
        f"Written by CIFAR Studio on {time.strftime('%Y-%m-%d %H:%M')}.</p>",
        *_accuracies(found),
        "<h2>What probably happened</h2>",
        *_findings(found),
        *_curves(found, figures),
        *_classes(found, figures),
        *_pictures(found),
        *_sureness(found, figures),
        *_robustness(run, figures),
        *_settings(found),
    ]
    return _PAGE.format(title=f"Run {_text(run.id)}", body="\n".join(parts))


def _accuracies(found: Assessment) -> Iterable[str]:
    rows = []
    for split in assessment.SPLITS:
        said = found.said.split(split)
        low, high = said.interval
        interval = f"{low:.1%} to {high:.1%}"
        cells = (
            f"{said.accuracy:.1%}",
            interval,
            f"{mistakes.top2(said):.1%}",
            f"{said.loss:.3f}",
            f"{len(said.labels):,}",
        )
        rows.append((split, *cells))
    yield _table(("images", "accuracy", "95 % interval (Wilson)", "top 2", "loss (nats)", "number"), rows)
    yield "<p><small>All was chosen on validation images; the test images were read once, at the end.</small></p>"


def _findings(found: Assessment) -> Iterable[str]:
    for finding in found.findings:
        yield (
            f'<div class="{finding.level}"><h3>{_text(finding.title)}</h3><p>{_text(finding.cause)} '
            f"<b>{_text(finding.advice)}</b></p><p><small>{_text(finding.evidence)}</small></p></div>"
        )


def _curves(found: Assessment, figures: list[go.Figure]) -> Iterable[str]:
    yield "<h2>The story of the run</h2>"
    yield from (f"<p>{_text(sentence)}</p>" for sentence in (*found.sentences, found.gap) if sentence)
    found_curves = curves.curves(found.run.metrics())
    for metric in ("accuracy", "loss"):
        yield _figure(charts.metric_figure(found_curves, metric), figures)
    changes = story.changes_of(found.run)
    if changes:
        yield _figure(evaluation_charts.change_figure(changes), figures)


def _classes(found: Assessment, figures: list[go.Figure]) -> Iterable[str]:
    yield "<h2>Classes (validation images)</h2>"
    rows = [
        (one.name, _share(one.precision), _share(one.recall), _share(one.f1), f"{one.images:,}")
        for one in mistakes.class_figures(found.said.validation)
    ]
    yield _table(("class", "precision", "recall", "F1", "images"), rows)
    yield _figure(evaluation_charts.confusion_figure(mistakes.confusion(found.said.validation)), figures)


def _pictures(found: Assessment) -> Iterable[str]:
    images = found.images("validation")
    said = found.calibrated.validation
    yield "<h2>Sure mistakes (validation images)</h2>"
    if images is None:
        yield "<p>The images of this run were not on the machine that wrote this report.</p>"
        return
    if found.is_cifar10:
        yield "<p>Some labels of CIFAR-10 are wrong, so some of these answers may be right.</p>"
    yield _gallery(images, said, mistakes.confident_mistakes(said)[:_PICTURES])
    yield "<h2>Lucky hits (validation images)</h2><p>Right, and least sure of it.</p>"
    yield _gallery(images, said, mistakes.lucky_hits(said)[:_PICTURES])


def _sureness(found: Assessment, figures: list[go.Figure]) -> Iterable[str]:
    yield "<h2>Calibration</h2>"
    if found.calibration is None:
        yield f"<p>{_text(' '.join(found.problems) or 'This run was not calibrated.')}</p>"
        return
    before, after = found.reliability("validation")
    yield f"<p>Its logits are divided by a temperature of {found.calibration.temperature:.2f}.</p>"
    yield _figure(inference_charts.reliability_figure(before, after, "validation images"), figures)


def _robustness(run: Run, figures: list[go.Figure]) -> Iterable[str]:
    measured, problem = robustness.usable(run)
    yield "<h2>Robustness</h2>"
    if measured is None or not measured.is_complete:
        yield f"<p>{_text(problem or 'Not measured yet.')}</p>"
        return
    yield f"<p>On {measured.images:,} validation images; {measured.mean:.1%} is the mean over all corruptions.</p>"
    yield _figure(evaluation_charts.robustness_figure({"this run": measured}), figures)


def _settings(found: Assessment) -> Iterable[str]:
    yield "<h2>Settings</h2>"
    yield _table(
        ("knob", "value"), [(knob.label, knob.say(getattr(found.config, name))) for name, knob in KNOBS.items()]
    )


def _gallery(images: np.ndarray, said: Predictions, positions: np.ndarray) -> str:
    parts = []
    for position in positions:
        answer = int(said.probabilities[position].argmax())
        picture = Image.fromarray(images[position]).resize((_SIDE, _SIDE), Image.Resampling.NEAREST)
        sure = _sure(said.probabilities[position, answer])
        words = f"{CLASSES[answer]} {sure}, labelled {CLASSES[said.labels[position]]}"
        parts.append(
            f'<figure><img src="{inference_charts.png(picture)}" alt=""><figcaption>{words}</figcaption></figure>'
        )
    return f'<div class="pictures">{"".join(parts)}</div>'


def _figure(figure: go.Figure, figures: list[go.Figure]) -> str:
    """Return a figure as HTML; the first one brings plotly.js for all."""
    figures.append(figure)
    config = {"displaylogo": False, "responsive": True}
    return figure.to_html(full_html=False, include_plotlyjs=len(figures) == 1, config=config)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{_text(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{body}</table>"


def _sure(value: float) -> str:
    return "over 99%" if value > 0.99 else f"{value:.0%}"  # no network can know "100%"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _text(value: object) -> str:
    return html.escape(str(value))
