"""What `evaluate` does: the figures of a finished run, its story and diagnosis, robustness, report and tables."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cifar_core import runs
from cifar_core.cli import commands, describe
from cifar_core.cli.terminal import PROGRAM, Screen, native_messages_hidden, number, percent, table
from cifar_core.errors import RunError
from cifar_core.runs import Run
from cifar_core.untrusted import quoted, shown_name

if TYPE_CHECKING:
    from cifar_core.evaluation.assessment import Assessment
    from cifar_core.evaluation.predictions import Predictions
    from cifar_core.evaluation.robustness import Measured

_CHUNK = 500


def evaluate(arguments: Namespace) -> int:
    """Tell everything about a finished run, or the test figures of the bundled model."""
    from cifar_core.inference.classifier import BUNDLED

    if arguments.id == BUNDLED:
        return _bundled(arguments)
    run = runs.get(arguments.id)
    from cifar_core.evaluation import assessment  # here, as scikit-learn takes a second

    found = assessment.of(run)
    measured = _measured(run, arguments)
    if arguments.html:
        from cifar_core.export import report

        _save(arguments.html, lambda path: path.write_text(report.build(run), encoding="utf-8"))
    if arguments.csv:
        _save(arguments.csv, lambda path: _save_tables(path, found, measured))
    answer = _test_figures(run.id, found.said.dataset, found.said.test) | assessment.to_json(found)
    commands.reply(arguments, answer, _lines(found, measured))
    return 0


def keep_head(arguments: Namespace) -> int:
    """Make phase 1 of a run a run of its own."""
    from cifar_core.evaluation import story

    kept = story.keep_head(runs.get(arguments.id))
    words = f"Run {kept.id} is phase 1 of {arguments.id}; `{PROGRAM} runs show {kept.id}` tells how it goes."
    commands.reply(arguments, {"id": kept.id, "status": kept.state}, [words])
    return 0


def _measured(run: Run, arguments: Namespace) -> Measured | None:
    """Return what is known of the run's robustness, measured now if that was asked for."""
    from cifar_core.evaluation import robustness

    if not arguments.robustness:
        return robustness.load(run)
    screen = Screen(quiet=arguments.json)

    def progress(done: int, total: int, left: float | None) -> None:
        screen.bar("robustness", done / total, "" if left is None else f"{left:.0f} s left")

    try:
        with native_messages_hidden():
            return robustness.measure(run, progress)
    finally:
        screen.clear()


def _lines(found: Assessment, measured: Measured | None) -> list[str]:
    from cifar_core.evaluation import mistakes, robustness, story

    lines = []
    for split in ("validation", "test"):
        said = found.said.split(split)
        low, high = said.interval
        lines.append(
            f"{found.run.id}: {split} accuracy {percent(said.accuracy)} "
            f"(95% interval {percent(low)} to {percent(high)}), top 2 {percent(mistakes.top2(said))}, "
            f"loss {number(said.loss)}, on {len(said.labels):,} images: {shown_name(found.said.dataset)}."
        )
    figures = mistakes.class_figures(found.said.validation)
    rows = [(one.name, percent(one.precision), percent(one.recall), percent(one.f1)) for one in figures]
    lines += ["Validation images:", *table(("class", "precision", "recall", "F1"), rows)]
    if found.calibration:
        error = found.test_error
        lines.append(
            f"Calibration error on test images {percent(error.value)} (95% interval {percent(error.low)} to "
            f"{percent(error.high)}) at temperature {found.calibration.temperature:.2f}."
        )
    lines += [sentence for sentence in (*found.sentences, found.gap) if sentence]
    if parent := story.parent(found.run):
        lines.append(f"This is phase 1 of run {parent}.")
    lines += describe.finding_lines(found.findings)
    if measured is None:
        return [*lines, f"Robustness: not measured; `{PROGRAM} evaluate {found.run.id} --robustness` does."]
    lines.append(f"Robustness on {measured.images:,} validation images, {percent(measured.clean)} when untouched:")
    table_rows: list[Sequence[str]] = []
    for name, corruption in robustness.CORRUPTIONS.items():
        shares = measured.accuracies.get(name, ())
        cells = [f"{percent(a)} at {s:g}" for s, a in zip(corruption.strengths, shares, strict=False)]
        table_rows.append(
            (f"{corruption.label} {corruption.unit}".strip(), *cells, *[""] * (len(corruption.strengths) - len(cells)))
        )
    return [*lines, *table(("corruption", *[""] * 5), table_rows)]


def _save(name: str, write: Callable[[Path], object]) -> None:
    """Write to the file or folder `name`. Raises RunError if that cannot be."""
    try:
        write(Path(name))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "a name that no file can have"
        raise RunError(f"{quoted(name)} cannot be written: {reason}; give another place.") from None


def _save_tables(folder: Path, found: Assessment, measured: Measured | None) -> None:
    from cifar_core.evaluation import story, tables

    folder.mkdir(parents=True, exist_ok=True)
    texts = {}
    for split in ("validation", "test"):
        texts[f"{split}-classes"] = tables.classes(found.said.split(split))
        texts[f"{split}-confusion"] = tables.confusion(found.said.split(split))
        texts[f"{split}-predictions"] = tables.predictions(found.said, split, found.calibrated.split(split))
    if measured:
        texts["robustness"] = tables.robustness({found.run.id: measured})
    if changes := story.changes_of(found.run):
        texts["fine-tuning"] = tables.changes(changes)
    for name, text in texts.items():
        (folder / f"{name}.csv").write_text(text, encoding="utf-8", newline="")


def _bundled(arguments: Namespace) -> int:
    """Tell the figures of the bundled model on the test images at hand; it has no story of its own."""
    import numpy as np

    from cifar_core.data import cifar10
    from cifar_core.evaluation.predictions import Predictions
    from cifar_core.inference.classifier import BUNDLED, open_classifier

    if arguments.robustness or arguments.html or arguments.csv:
        raise RunError("The bundled model has no validation images of its own, so it is only told of; give a run's id.")
    screen = Screen(quiet=arguments.json)
    with native_messages_hidden():
        classifier = open_classifier(BUNDLED)
    dataset = cifar10.load()
    images, parts = dataset.test_images, []
    for start in range(0, len(images), _CHUNK):
        screen.bar("classifying test images", start / len(images), f"{start:,}/{len(images):,}")
        parts.append(classifier.probabilities(images[start : start + _CHUNK]))
    screen.clear()
    test = Predictions(dataset.test_labels, np.concatenate(parts))
    low, high = test.interval
    lines = [
        f"bundled: test accuracy {percent(test.accuracy)} (95% interval {percent(low)} to {percent(high)}), "
        f"loss {number(test.loss)}, on {len(test.labels):,} images: {shown_name(dataset.label)}.",
        *table(("class", "accuracy"), [(name, percent(share)) for name, share in test.class_accuracies.items()]),
    ]
    commands.reply(arguments, _test_figures(BUNDLED, dataset.label, test), lines)
    return 0


def _test_figures(name: str, dataset: str, test: Predictions) -> dict[str, Any]:
    """Return the test figures; `classes` are the accuracies of each."""
    return {
        "id": name,
        "accuracy": test.accuracy,
        "loss": test.loss,
        "images": len(test.labels),
        "dataset": dataset,
        "interval": list(test.interval),
        "classes": test.class_accuracies,
    }
