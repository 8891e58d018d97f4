"""The commands for finished runs: `evaluate` (text, JSON, HTML, CSV), `export`, `import` and `bundle`."""

import time
from argparse import Namespace
from itertools import count, zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from cifar_core import runs
from cifar_core.cli import run_commands, teach, terminal
from cifar_core.cli.terminal import PROGRAM, Answer, Screen, native_messages_hidden, percent, save, table, to_stderr
from cifar_core.data import cifar10
from cifar_core.errors import RunError
from cifar_core.evaluation import assessment, data_map, phase_summary, predictions, robustness
from cifar_core.export import exports
from cifar_core.export.bundle import bundle
from cifar_core.inference import calibration
from cifar_core.inference.classifier import BUNDLED, open_classifier
from cifar_core.runs import Run, labels
from cifar_core.teach.project import PREFIX
from cifar_core.untrusted import read_plain_file, shown_name

_CHUNK = 500

_POLL_SECONDS = 0.1


def evaluate(arguments: Namespace) -> Answer:
    """Show the evaluation of a finished run, or the test metrics of the bundled model."""
    if arguments.id == BUNDLED:
        return _bundled(arguments)
    run = runs.get(arguments.id)
    result = assessment.assess(run)
    measured = _measured(run, arguments)
    if arguments.map:
        with Screen(arguments.json) as screen, native_messages_hidden():
            data_map.make_map(run, lambda done, total: screen.bar("map", done / total))
    doubtful, more = _mislabeled(result.calibrated.test, arguments.mislabeled)
    if arguments.html:
        from cifar_core.export import report

        save(arguments.html, lambda path: path.write_text(report.build(run), encoding="utf-8"))
    if arguments.csv:
        save(arguments.csv, lambda path: _save_tables(path, result, measured))
    data = _test_figures(run.id, result.stored.dataset, result.stored.test) | assessment.to_json(result) | doubtful
    return Answer(data, [*_lines(result, measured), *more])


def _mislabeled(test: predictions.Predictions, most: int | None) -> tuple[dict[str, Any], list[str]]:
    """Return the `most` test images with a probably wrong label, as JSON and lines; empty for None."""
    if most is None:
        return {}, []
    rows = []
    for i in predictions.possibly_mislabeled(test)[:most]:
        label, shares = cifar10.CLASSES[test.labels[i]], test.probabilities[i]
        rows.append((int(i), label, cifar10.CLASSES[shares.argmax()], float(shares.max())))
    names = ("position", "label", "answer", "probability")
    lines = ["Possibly mislabeled test images:", *table(names, [(f"{i}", a, b, percent(p)) for i, a, b, p in rows])]
    return {"mislabeled": [dict(zip(names, row, strict=True)) for row in rows]}, lines


def _measured(run: Run, arguments: Namespace) -> robustness.Measured | None:
    """Return the robustness of a run; with --robustness, measure it first."""
    if not arguments.robustness:
        known, problem = robustness.load_or_problem(run)
        if problem:
            to_stderr(problem)
        return known
    with Screen(arguments.json) as screen, native_messages_hidden():

        def report(done: int, total: int, left: float | None) -> None:
            screen.bar("robustness", done / total, "" if left is None else f"{left:.0f} s left")

        return robustness.measure(run, report)


def _lines(result: assessment.Assessment, measured: robustness.Measured | None) -> list[str]:
    lines = [f"Run {result.run.id}, images: {shown_name(cifar10.shown_label(result.stored.dataset))}."]
    lines += table(*assessment.accuracy_cells(result.stored))
    lines += ["Validation images:", *table(*assessment.class_cells(result.stored.validation))]
    if result.calibration:
        error, temperature = result.test_error, result.calibration.temperature
        lines.append(
            f"Root mean square calibration error on test images: {percent(error.value)} "
            f"({terminal.interval((error.low, error.high))}) at temperature {temperature:.2f}."
        )
    lines += [*result.problems, *result.sentences]
    if result.parent:
        lines.append(f"This is phase 1 of run {result.parent}.")
    lines += run_commands.finding_lines(result.findings)
    if measured is None:
        return [*lines, f"Robustness: not measured; `{PROGRAM} evaluate {result.run.id} --robustness` does."]
    lines.append(f"Robustness on {measured.images:,} validation images, {percent(measured.clean)} without corruption:")
    rows = []
    for name, corruption in robustness.CORRUPTIONS.items():
        pairs = zip_longest(corruption.strengths, measured.accuracies.get(name, ()))
        cells = ["" if share is None else f"{percent(share)} at {strength:g}" for strength, share in pairs]
        rows.append((f"{corruption.label} {corruption.unit}".strip(), *cells))
    return [*lines, *table(("corruption", *[""] * 5), rows)]


def _save_tables(folder: Path, result: assessment.Assessment, measured: robustness.Measured | None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    texts = {}
    for split in assessment.SPLITS:
        texts[f"{split}-classes"] = assessment.classes_csv(result.stored.split(split))
        texts[f"{split}-confusion"] = assessment.confusion_csv(result.stored.split(split))
        texts[f"{split}-predictions"] = assessment.predictions_csv(result.stored, split, result.calibrated.split(split))
    if measured:
        texts["robustness"] = assessment.robustness_csv({result.run.id: measured})
    if changes := phase_summary.changes_of(result.run):
        texts["fine-tuning"] = assessment.changes_csv(changes)
    for name, text in texts.items():
        (folder / f"{name}.csv").write_text(text, encoding="utf-8", newline="")


def _bundled(arguments: Namespace) -> Answer:
    """Evaluate the bundled model on the test images of this machine."""
    if arguments.robustness or arguments.map or arguments.html or arguments.csv:
        raise RunError("The bundled model has no validation images; give --robustness, --map, --html, --csv a run.")
    with native_messages_hidden():
        classifier = open_classifier(BUNDLED)
    dataset = cifar10.load()
    images, parts = dataset.test_images, []
    with Screen(arguments.json) as screen:
        for start in range(0, len(images), _CHUNK):
            screen.bar("classifying test images", start / len(images), f"{start:,}/{len(images):,}")
            parts.append(classifier.probabilities(images[start : start + _CHUNK]))
    test = predictions.Predictions(dataset.test_labels, np.concatenate(parts))
    known = classifier.calibration
    sure = calibration.scaled(test.probabilities, known.temperature) if known else test.probabilities
    doubtful, more = _mislabeled(predictions.Predictions(test.labels, sure), arguments.mislabeled)
    figures = _test_figures(BUNDLED, dataset.label, test)
    lines = [
        f"bundled: test accuracy {percent(test.accuracy)} ({terminal.interval(test.interval)}), loss {test.loss:.4f}, "
        f"on {len(images):,} images: {shown_name(cifar10.shown_label(dataset.label))}.",
        *table(("class", "accuracy"), [(name, percent(recall)) for name, recall in figures["classes"].items()]),
        *more,
    ]
    return Answer(figures | doubtful, lines)


def _test_figures(name: str, dataset: str, test: predictions.Predictions) -> dict[str, Any]:
    figures = assessment.figures(test)
    known = {key: figures[key] for key in ("accuracy", "loss", "images", "interval")}
    recalls = {label: one["recall"] for label, one in figures["classes"].items()}
    return {"id": name, "dataset": dataset, **known, "classes": recalls}


def export_run(arguments: Namespace) -> Answer:
    """Write a finished run or own classes to a file; the model file of a run is tested on images first."""
    name, facts = arguments.format, dict[str, Any]()
    if arguments.id.startswith(PREFIX):
        model = teach.opened(arguments.id, arguments.json)
        stem, content = model.name, model.export(name)
    else:
        run = runs.get(arguments.id)
        facts = _tried(run, name, arguments.json) if name in exports.MODELS else {}
        stem, content = labels.file_stem(run), exports.content(run, name)
    target = Path(arguments.output or ".")
    if target.is_dir():  # no file is replaced: runs may have the same name
        paths = (target / f"{stem}{f'-{n}' * (n > 1)}{exports.FORMATS[name].suffix}" for n in count(1))
        target = next(path for path in paths if not path.exists())
    save(str(target), lambda path: path.write_bytes(content))
    answer = {"id": arguments.id, "format": name, "file": str(target), "bytes": len(content)}
    lines = [f"{target}: {len(content) / 1e6:,.2f} MB."]
    if facts:
        answer |= {key: facts[key] for key in ("agreement", "images", "latency_ms", "against", "poor")}
        lines.append(
            f"Agrees with the run on {percent(facts['agreement'])} of {facts['images']} test images; one image takes "
            f"{facts['latency_ms']:.2f} ms. Compared with {facts['against']}."
        )
    if facts.get("poor"):
        least = percent(exports.MODELS[name].least_agreement)
        to_stderr(f"Only {percent(facts['agreement'])} agree, expected {least} at least: do not rely on it.")
    return Answer(answer, lines)


def import_run(arguments: Namespace) -> Answer:
    """Import a run from an archive."""
    from cifar_core.export import archive

    content = read_plain_file(arguments.archive, archive.MAX_ZIP_BYTES, "the ZIP file of a run", RunError)
    with native_messages_hidden():
        run = archive.import_run(content)
    data = {"id": run.id, "status": run.state, "imported": run.status["imported"]}
    return Answer(data, [f"Run {run.id} is imported; `{PROGRAM} runs show {run.id}` shows it."])


def bundle_run(arguments: Namespace) -> Answer:
    """Add a run's network and model card to the package."""
    written = bundle(runs.get(arguments.id))
    lines = [f"{path}: {path.stat().st_size / 1e6:,.2f} MB." for path in written]
    return Answer({"id": arguments.id, "files": list(map(str, written))}, lines)


def _tried(run: Run, name: str, quiet: bool) -> dict[str, Any]:
    """Return the test metrics of a model file; write and test it first if needed. Raises RunError."""
    if exports.state(run, name)["state"] in ("none", "failed"):
        exports.start(run, name)
    with Screen(quiet) as screen:
        while (state := exports.state(run, name))["state"] == "working":
            done, total = state["done"], state["total"]
            screen.bar(f"trying {name}", done / max(total, 1), f"{done}/{total} images")
            time.sleep(_POLL_SECONDS)
    if state["state"] != "done":
        log = exports.job(run, name).file(".log")
        raise RunError(f"The export failed: {state.get('error', 'it did not start')} More is in {log}.")
    return state
