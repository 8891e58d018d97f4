"""A finished run as one self-contained HTML page: figures, tables, pictures."""

from __future__ import annotations

import html
import time
from collections.abc import Iterable, Sequence

import numpy as np
import plotly.graph_objects as go
from PIL import Image

from cifar_core import charts
from cifar_core.charts import answers as answer_charts
from cifar_core.charts import style
from cifar_core.config import KNOBS
from cifar_core.data.cifar10 import CLASSES
from cifar_core.evaluation import assessment, robustness, story
from cifar_core.evaluation.assessment import Assessment
from cifar_core.evaluation.predictions import Predictions, confident_mistakes, confusion_counts, lucky_hits
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
.problem,.hint,.fine{{border-left:4px solid;padding-left:.8rem}}.problem{{border-color:{wrong}}}
.hint{{border-color:{hint}}}.fine{{border-color:{right}}}small{{color:#5b6570}}button{{margin-right:.4rem}}
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
    parts = [
        f"<h1>Run {_text(run.id)}</h1>",
        f"<p>Images: {_text(found.stored.dataset)}. Initial weights: {_text(run.result.get('weights', 'unknown'))}. "
        f"Written by CIFAR Studio on {time.strftime('%Y-%m-%d %H:%M')}.</p>",
        _table(*assessment.accuracy_cells(found.stored)),
        "<p><small>Everything was chosen by validation images; the test images were read once, at the end.</small></p>",
        "<h2>What probably happened</h2>",
        *_findings(found),
        *_curves(found),
        "<h2>Classes (validation images)</h2>",
        _table(*assessment.class_cells(found.stored.validation)),
        _figure(answer_charts.confusion_figure(confusion_counts(found.stored.validation))),
        *_pictures(found),
        *_calibration(found),
        *_robustness(run),
        "<h2>Settings</h2>",
        _table(
            ("knob", "value"), [(knob.label, knob.format(getattr(found.config, name))) for name, knob in KNOBS.items()]
        ),
    ]
    colors = {"wrong": style.WRONG, "hint": style.VALIDATION, "right": style.RIGHT}
    return _PAGE.format(title=f"Run {_text(run.id)}", body="\n".join(parts), **colors)


def _findings(found: Assessment) -> Iterable[str]:
    for finding in found.findings:
        yield (
            f'<div class="{finding.level}"><h3>{_text(finding.title)}</h3><p>{_text(finding.cause)} '
            f"<b>{_text(finding.advice)}</b></p><p><small>{_text(finding.evidence)}</small></p></div>"
        )


def _curves(found: Assessment) -> Iterable[str]:
    yield "<h2>Phases</h2>"
    yield from (f"<p>{_text(sentence)}</p>" for sentence in (*found.sentences, found.gap) if sentence)
    found_curves = curves.curves(found.run.metrics())
    yield _figure(charts.metric_figure(found_curves, "accuracy"), brings_plotly=True)
    yield _figure(charts.metric_figure(found_curves, "loss"))
    if changes := story.changes_of(found.run):
        yield _figure(answer_charts.change_figure(changes))


def _pictures(found: Assessment) -> Iterable[str]:
    images = found.images("validation")
    said = found.calibrated.validation
    yield "<h2>Confident mistakes (validation images)</h2>"
    if images is None:
        yield "<p>The images of this run were not on the machine that wrote this report.</p>"
        return
    if found.is_cifar10:
        yield "<p>Some labels of CIFAR-10 are wrong, so some of these answers may be right.</p>"
    yield _gallery(images, said, confident_mistakes(said)[:_PICTURES])
    yield "<h2>Least confident correct answers (validation images)</h2>"
    yield _gallery(images, said, lucky_hits(said)[:_PICTURES])


def _calibration(found: Assessment) -> Iterable[str]:
    yield "<h2>Calibration</h2>"
    if found.calibration is None:
        yield f"<p>{_text(' '.join(found.problems) or 'This run was not calibrated.')}</p>"
        return
    yield f"<p>Its logits are divided by a temperature of {found.calibration.temperature:.2f}.</p>"
    yield _figure(answer_charts.reliability_figure(*found.reliability("validation"), "validation images"))


def _robustness(run: Run) -> Iterable[str]:
    measured, problem = robustness.usable(run)
    yield "<h2>Robustness</h2>"
    if measured is None or not measured.is_complete:
        yield f"<p>{_text(problem or 'Not measured yet.')}</p>"
        return
    yield f"<p>On {measured.images:,} validation images; {measured.mean:.1%} is the mean over all corruptions.</p>"
    yield _figure(answer_charts.robustness_figure({"this run": measured}))


def _gallery(images: np.ndarray, said: Predictions, positions: np.ndarray) -> str:
    parts = []
    for position in positions:
        answer = int(said.probabilities[position].argmax())
        picture = Image.fromarray(images[position]).resize((_SIDE, _SIDE), Image.Resampling.NEAREST)
        share = said.probabilities[position, answer]
        shown = "over 99%" if share > 0.99 else f"{share:.0%}"  # no network can know "100%"
        words = f"{CLASSES[answer]} {shown}, label {CLASSES[said.labels[position]]}"
        parts.append(
            f'<figure><img src="{answer_charts.png(picture)}" alt=""><figcaption>{words}</figcaption></figure>'
        )
    return f'<div class="pictures">{"".join(parts)}</div>'


def _figure(figure: go.Figure, brings_plotly: bool = False) -> str:
    config = {"displaylogo": False, "responsive": True}
    return figure.to_html(full_html=False, include_plotlyjs=brings_plotly, config=config)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{_text(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{body}</table>"


def _text(value: object) -> str:
    return html.escape(str(value))
