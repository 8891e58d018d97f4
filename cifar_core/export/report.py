"""Report of a finished run: a self-contained HTML page, one of its curves, an image card, an animation."""

from __future__ import annotations

import html
import io
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from string import Template

import numpy as np
import plotly.graph_objects as go
from PIL import Image, ImageDraw, ImageFont

from cifar_core.charts import answers as answer_charts
from cifar_core.charts import style
from cifar_core.charts import training as training_charts
from cifar_core.charts.style import CLASS_COLORS, FINE_TUNING, TRAINING, VALIDATION, WRONG
from cifar_core.config import KNOBS
from cifar_core.data.cifar10 import CLASSES, shown_label
from cifar_core.errors import RunError
from cifar_core.evaluation import assessment, phase_summary, predictions, robustness
from cifar_core.evaluation.assessment import Assessment
from cifar_core.evaluation.predictions import Predictions, confident_mistakes, confusion_counts, least_confident_correct
from cifar_core.inference import pins
from cifar_core.inference.pins import Watch, Watched
from cifar_core.runs import Run, curves

_PICTURES = 16
_SIDE = 96  # pixels of a picture, so browsers do not upscale it
_PAGE = Template(Path(__file__).with_name("report.html").read_text("utf-8"))

CARD_SIZE, ANIMATION_SIZE = (1200, 675), (960, 480)
_SCALE = 2  # supersampling: Pillow's lines have no anti-aliasing
_GROUND, _INK, _MUTED, _RULE = "#ffffff", "#1f2937", "#5b6472", "#e3e6ea"
_SHADE = "#f3eef8"  # background of the fine-tuning phase
_BETWEEN, _MOST_FRAMES = 4, 150  # frames from one recorded moment to the next, and of an animation
_FRAME_MS, _LAST_MS = 80, 2_500


def build(run: Run) -> str:
    """Return the report of `run`, about 5 MB of HTML. Raises RunError if the run is not finished or damaged."""
    result = assessment.assess(run)
    images, weights = shown_label(result.stored.dataset), run.result.get("weights", "unknown")
    settings = [(knob.label, knob.format(getattr(result.config, name))) for name, knob in KNOBS.items()]
    parts = [
        f"<p>Images: {_text(images)}. Initial weights: {_text(weights)}. "
        f"Written by CIFAR Studio on {time.strftime('%Y-%m-%d %H:%M')}.</p>",
        _table(*assessment.accuracy_cells(result.stored)),
        "<p><small>Everything was chosen by validation images; the test images were read once, at the end.</small></p>",
        "<h2>Diagnosis</h2>",
        *_findings(result),
        *_curves(result),
        "<h2>Classes (validation images)</h2>",
        _table(*assessment.class_cells(result.stored.validation)),
        _figure(answer_charts.confusion_figure(confusion_counts(result.stored.validation))),
        *_pictures(result),
        *_calibration(result),
        *_robustness(run),
        "<h2>Settings</h2>",
        _table(("setting", "value"), settings),
    ]
    return _page(run, parts)


def curves_page(run: Run) -> str:
    """Return the learning curves of `run` as one self-contained HTML page."""
    found = curves.curves(run.metrics())
    charts = [training_charts.metric_figure(found, metric) for metric in ("accuracy", "loss")]
    charts += [training_charts.small_figure(found, name) for name in ("learning_rate", "images_per_second")]
    return _page(run, [_figure(figure, brings_plotly=number == 0) for number, figure in enumerate(charts)])


def _page(run: Run, parts: Iterable[str]) -> str:
    title = f"Run {_text(run.id)}"
    body = "\n".join([f"<h1>{title}</h1>", *parts])
    return _PAGE.substitute(title=title, body=body, wrong=style.WRONG, hint=style.VALIDATION, right=style.RIGHT)


def _findings(result: Assessment) -> Iterable[str]:
    for finding in result.findings:
        yield (
            f'<div class="{finding.level}"><h3>{_text(finding.title)}</h3><p>{_text(finding.cause)} '
            f"<b>{_text(finding.advice)}</b></p><p><small>{_text(finding.evidence)}</small></p></div>"
        )


def _curves(result: Assessment) -> Iterable[str]:
    yield "<h2>Phases</h2>"
    yield from (f"<p>{_text(sentence)}</p>" for sentence in result.sentences)
    found_curves = curves.curves(result.run.metrics())
    yield _figure(training_charts.metric_figure(found_curves, "accuracy"), brings_plotly=True)
    yield _figure(training_charts.metric_figure(found_curves, "loss"))
    if changes := phase_summary.changes_of(result.run):
        yield _figure(answer_charts.change_figure(changes))


def _pictures(result: Assessment) -> Iterable[str]:
    images = result.images("validation")
    answers = result.calibrated.validation
    yield "<h2>Confident mistakes (validation images)</h2>"
    if images is None:
        yield "<p>The images of this run were not on the machine that wrote this report.</p>"
        return
    if result.is_cifar10:
        yield "<p>Some labels of CIFAR-10 are wrong, so some of these predictions may be right.</p>"
    yield _gallery(images, answers, confident_mistakes(answers)[:_PICTURES])
    yield "<h2>Least confident correct predictions (validation images)</h2>"
    yield _gallery(images, answers, least_confident_correct(answers)[:_PICTURES])


def _calibration(result: Assessment) -> Iterable[str]:
    yield "<h2>Calibration</h2>"
    if result.calibration is None:
        yield f"<p>{_text(' '.join(result.problems) or 'This run was not calibrated.')}</p>"
        return
    yield f"<p>Its logits are divided by a temperature of {result.calibration.temperature:.2f}.</p>"
    yield _figure(answer_charts.reliability_figure(*result.reliability("validation"), "validation images"))


def _robustness(run: Run) -> Iterable[str]:
    measured, problem = robustness.load_or_problem(run)
    yield "<h2>Robustness</h2>"
    if measured is None or not measured.is_complete:
        yield f"<p>{_text(problem or 'Not measured yet.')}</p>"
        return
    yield f"<p>On {measured.images:,} validation images; {measured.mean:.1%} is the mean over all corruptions.</p>"
    yield _figure(answer_charts.robustness_figure({"this run": measured}))


def _gallery(images: np.ndarray, answers: Predictions, positions: np.ndarray) -> str:
    parts = []
    for position in positions:
        answer = int(answers.probabilities[position].argmax())
        picture = Image.fromarray(images[position]).resize((_SIDE, _SIDE), Image.Resampling.NEAREST)
        share = answers.probabilities[position, answer]
        shown = "over 99%" if share > 0.99 else f"{share:.0%}"  # never "100%"
        words = f"{CLASSES[answer]} {shown}, label {CLASSES[answers.labels[position]]}"
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


class _Canvas:
    """An image with coordinates in pixels of its final size."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._image = Image.new("RGB", (size[0] * _SCALE, size[1] * _SCALE), _GROUND)
        self._draw = ImageDraw.Draw(self._image)

    def text(self, x: float, y: float, words: str, size: int, color: str = _INK, anchor: str = "la") -> None:
        font = ImageFont.load_default(size * _SCALE)
        self._draw.text((x * _SCALE, y * _SCALE), words, color, font, anchor)

    def box(self, box: tuple[float, float, float, float], color: str) -> None:
        self._draw.rectangle([side * _SCALE for side in box], color)

    def line(self, points: np.ndarray, color: str, width: float) -> None:
        """Draw a line through `points`, float (n, 2)."""
        self._draw.line([tuple(point) for point in points * _SCALE], color, round(width * _SCALE), "curve")

    def picture(self, x: int, y: int, side: int, pixels: np.ndarray) -> None:
        large = Image.fromarray(pixels).resize((side * _SCALE, side * _SCALE), Image.Resampling.NEAREST)
        self._image.paste(large, (x * _SCALE, y * _SCALE))

    def finished(self) -> Image.Image:
        return self._image.reduce(_SCALE)


def card(run: Run) -> bytes:
    """Return a PNG of CARD_SIZE: test accuracy, settings, curve, and six pictures with predictions.

    The pictures are the pinned ones of the run, or else the first test image of six classes. Raises RunError if the
    run has no evaluation.
    """
    evaluation, config = predictions.load(run), run.config
    test = evaluation.test
    low, high = test.interval
    canvas = _Canvas(CARD_SIZE)
    canvas.text(48, 40, "CIFAR Studio", 24, _MUTED)
    canvas.text(44, 84, f"{test.accuracy:.1%}", 120)
    canvas.text(48, 222, f"of {len(test.labels):,} test images correct ({low:.1%} to {high:.1%})", 24)
    epochs = f"{config.epochs['head']} + {config.epochs['fine_tune']} epochs"
    settings = (
        f"MobileNetV2, width {config.alpha:g}, {config.image_size} px, at most {epochs}",
        f"dropout {config.dropout:g}, augmentation {config.augmentation:g}, seed {config.seed}",
        f"Images: {shown_label(run.result.get('dataset'))}",
    )
    for row, words in enumerate(settings):
        canvas.text(48, 276 + 30 * row, words, 20, _MUTED)
    _curve(canvas, run)
    for number, (pixels, label, probabilities) in enumerate(_card_pictures(run, evaluation)):
        x, best = 48 + 187 * number, int(probabilities.argmax())
        is_wrong = bool(label) and label != CLASSES[best]
        canvas.picture(x, 412, 168, pixels)
        answer = f"{CLASSES[best]} {min(probabilities[best], 0.99):.0%}"  # never 100%, as on pages
        canvas.text(x, 590, answer, 21, WRONG if is_wrong else _INK)
        if is_wrong:
            canvas.text(x, 618, f"labeled {label}", 17, _MUTED)
    return _packed(canvas.finished(), "PNG", optimize=True)


def animation(run: Run) -> bytes:
    """Return a looping WebP of ANIMATION_SIZE: the pinned pictures and their top classes during training.

    Raises RunError if the run has no records of pinned pictures.
    """
    watch = pins.watch(run)
    watched = [one for one in watch.watched if len(one.epochs)]
    if not watched:
        raise RunError(f"Run {run.id} watched no pictures; pin some before the next run.")
    first, *others = [_frame(watch, watched, moment) for moment in _moments(watched)]
    durations = [_FRAME_MS] * len(others) + [_LAST_MS]
    return _packed(first, "WEBP", save_all=True, append_images=others, duration=durations, loop=0, quality=80)


def _packed(image: Image.Image, kind: str, **options: object) -> bytes:
    packed = io.BytesIO()
    image.save(packed, kind, **options)
    return packed.getvalue()


def _card_pictures(run: Run, evaluation: predictions.Evaluation) -> list[tuple[np.ndarray, str, np.ndarray]]:
    """Return at most six pictures, uint8 (32, 32, 3), with labels ("" if unknown) and probabilities, float (10,)."""
    if watched := [one for one in pins.watch(run).watched if len(one.epochs)]:
        return [(one.pin.image, one.pin.label, one.probabilities[-1]) for one in watched]
    images, test = predictions.images_of(run, evaluation, "test"), evaluation.test
    if images is None:
        return []
    places = np.unique(test.labels, return_index=True)[1][: pins.MOST]
    return [(images[place], CLASSES[test.labels[place]], test.probabilities[place]) for place in places]


def _curve(canvas: _Canvas, run: Run) -> None:
    """Draw training and validation accuracy by epoch."""
    left, top, right, bottom = 660, 64, 1152, 350
    lines = curves.curves(run.metrics())
    most = max(lines.planned, 1)

    def places(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.stack([left + (right - left) * x / most, bottom - (bottom - top) * y], axis=1)

    if lines.boundary is not None:
        start = places(np.array([lines.boundary]), np.array([0.0]))[0, 0]
        canvas.box((start, top, right, bottom), _SHADE)
        canvas.text(start + 8, bottom - 8, "fine-tuning", 16, FINE_TUNING, "ld")
        canvas.text(start - 8, bottom - 8, "head", 16, _MUTED, "rd")
    for share in (0.0, 0.5, 1.0):
        level = places(np.array([0.0, most]), np.array([share, share]))
        canvas.line(level, _RULE, 1)
        canvas.text(left - 10, level[0, 1], f"{share:.0%}", 16, _MUTED, "rm")
    for name, color, width in (("accuracy", TRAINING, 2), ("validation_accuracy", VALIDATION, 4)):
        line = lines.curves[name]
        if len(line.x) > 1:
            canvas.line(places(line.x, line.y), color, width)
    canvas.text(left, top - 10, "training", 16, TRAINING, "ld")
    canvas.text(left + 80, top - 10, "validation accuracy", 16, VALIDATION, "ld")
    canvas.text(right, bottom + 10, f"{most} epochs", 16, _MUTED, "ra")


def _moments(watched: Sequence[Watched]) -> np.ndarray:
    """Return the epochs of the frames: the recorded ones and those between them; fewer in a long run."""
    recorded = np.unique(np.concatenate([one.epochs for one in watched]))
    last = len(recorded) - 1
    frames = np.linspace(0, last, min(last * _BETWEEN + 1, _MOST_FRAMES))
    return np.interp(frames, np.arange(last + 1), recorded)


def _frame(watch: Watch, watched: Sequence[Watched], moment: float) -> Image.Image:
    """Return the frame of one moment, with probabilities interpolated between records."""
    canvas = _Canvas(ANIMATION_SIZE)
    tunes = watch.boundary is not None and moment > watch.boundary
    canvas.text(32, 28, f"epoch {moment:.1f}", 28)
    canvas.text(180, 28, "fine-tuning" if tunes else "head", 28, FINE_TUNING if tunes else _MUTED)
    canvas.text(928, 28, "CIFAR Studio", 20, _MUTED, "ra")
    for number, one in enumerate(watched):
        x, y = 32 + 304 * (number % 3), 92 + 190 * (number // 3)
        canvas.picture(x, y, 150, one.pin.image)
        values = np.array([np.interp(moment, one.epochs, column) for column in one.probabilities.T])
        for row, label in enumerate(np.argsort(-values)[:3]):
            place = y + 4 + 50 * row
            canvas.text(x + 162, place, f"{CLASSES[label]} {min(values[label], 0.99):.0%}", 16)
            canvas.box((x + 162, place + 22, x + 282, place + 32), _RULE)
            canvas.box((x + 162, place + 22, x + 162 + 120 * values[label], place + 32), CLASS_COLORS[label])
    return canvas.finished()
