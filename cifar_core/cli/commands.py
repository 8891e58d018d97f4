"""What the commands of the command line do. Each takes the parsed arguments and returns the exit code.

Imports stand where they are needed, so that every command starts fast; none reaches TensorFlow, as a training is a
process of its own.
"""

from __future__ import annotations

import json
import math
import stat
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cifar_core import runs
from cifar_core.cli import describe
from cifar_core.cli.terminal import PROGRAM, Screen, complain, discard_output, native_messages_hidden, percent, table
from cifar_core.config import KNOBS, preset
from cifar_core.errors import CifarError, ImageError
from cifar_core.runs import Run
from cifar_core.untrusted import quoted, shown_name

if TYPE_CHECKING:
    import numpy as np

    from cifar_core.inference.classifier import Classifier
    from cifar_core.inference.pictures import Picture

_SURE = 0.01  # less probable classes are not mentioned beside the best


def train(arguments: Namespace) -> int:
    """Start a run and, unless it is to be detached, follow it to its end."""
    from cifar_core.cli.follow import follow
    from cifar_core.jobs import launch

    chosen = {name: getattr(arguments, name) for name in KNOBS}
    changes = {name: KNOBS[name].parse(text) for name, text in chosen.items() if text is not None}
    run = launch.start(preset(arguments.preset, **changes), arguments.preset)
    if arguments.detach:
        return _answer_state(arguments, run, f"`{PROGRAM} runs show {run.id}` tells how it goes.")
    screen, interrupted = Screen(quiet=arguments.json), False
    screen.line(f"Run {run.id}. Ctrl-C stops it, closing the terminal does not.")
    try:
        follow(run, screen)
    except KeyboardInterrupt:
        interrupted = True
        launch.stop(run)
    code, message = describe.ending(run)
    reply(arguments, describe.figures(run) | {"error": describe.error(run)}, describe.figure_lines(run))
    if message:
        complain(message)
    return 130 if interrupted and code else code


def show_run(arguments: Namespace) -> int:
    """Tell everything about one run."""
    run = runs.get(arguments.id)
    from cifar_core.evaluation import diagnosis

    found = describe.details(run)
    findings = diagnosis.diagnose(run)
    lines = [*describe.detail_lines(run, found), *describe.finding_lines(findings)]
    reply(arguments, found | {"diagnosis": [finding.to_dict() for finding in findings]}, lines)
    return 0


def stop_run(arguments: Namespace) -> int:
    """Stop a run and return when it has stopped."""
    from cifar_core.jobs import launch

    run = runs.get(arguments.id)
    launch.stop(run)
    return _answer_state(arguments, run)


def resume_run(arguments: Namespace) -> int:
    """Let a run go on."""
    from cifar_core.jobs import launch

    run = runs.get(arguments.id)
    launch.resume(run)
    return _answer_state(arguments, run, f"`{PROGRAM} runs show {run.id}` tells how it goes.")


def predict(arguments: Namespace) -> int:
    """Classify pictures; a bad one is told of, and the others are answered."""
    import numpy as np

    from cifar_core.cli import explanation_image, predict_details
    from cifar_core.inference.classifier import open_classifier
    from cifar_core.inference.gallery import answer_row

    with native_messages_hidden():
        classifier = open_classifier(arguments.run)
    answers: list[dict[str, Any]] = []
    good, pixels = [], []
    explained: list[explanation_image.Explained] = []
    for picture in _pictures(arguments.images):
        answers.append({"file": picture.name})
        if picture.error:
            answers[-1]["error"] = picture.error
            complain(picture.error)
            continue
        good.append(answers[-1])
        pixels.append(picture.network_input(arguments.crop))
        if arguments.explain and len(explained) <= explanation_image.MOST:
            explained.append((picture.compact(), pixels[-1]))
    if good:
        batch = np.stack(pixels)
        said = classifier.answer(batch)
        for number, answer in enumerate(good):
            answer |= answer_row(answer["file"], said, number)
        _look_closer(arguments, good, classifier, batch, said.probabilities)
        answers = good + [answer for answer in answers if "error" in answer] if arguments.compare else answers
        _say_model(arguments, classifier)
    if arguments.csv:
        _save_csv(arguments.csv, answers)
    if explained:
        explanation_image.save(arguments.explain, classifier, explained, arguments.crop)
    if good or arguments.json:
        reply(
            arguments,
            answers,
            [line for answer in good for line in (_sentence(answer), *predict_details.lines(answer))],
        )
    return 0 if len(good) == len(answers) else 2


def _look_closer(
    arguments: Namespace, good: list[dict[str, Any]], classifier: Classifier, pixels: np.ndarray, said: np.ndarray
) -> None:
    """Add to the answers `good` what was asked for beyond them; with others, disagreements come first."""
    from cifar_core.cli import predict_details
    from cifar_core.inference.classifier import open_classifier

    if arguments.nearest:
        predict_details.add_nearest(good, classifier, pixels, arguments.nearest)
    if arguments.what_if:
        predict_details.add_flips(good, classifier, pixels)
    if arguments.compare:
        predict_details.add_others(good, said, [open_classifier(name) for name in arguments.compare], pixels)


def data_status(arguments: Namespace) -> int:
    """Tell which images a training gets."""
    from cifar_core.data import cifar10

    found = cifar10.status()
    if found["error"]:
        complain(found["error"])
        if arguments.json:
            reply(arguments, found, [])
        return 2
    lines = [
        f"{found['label']}: {found['train_images']:,} training and {found['test_images']:,} test images.",
        f"Where: {found['source']}",
        f"Why: {found['reason']}.",
    ]
    download = found["download"]
    if download["running"] or download["bytes"]:
        state = "running" if download["running"] else "unfinished"
        lines.append(f"Download ({state}): {download['bytes'] / 1e6:,.0f} of {download['total'] / 1e6:,.0f} MB.")
    reply(arguments, found, lines)
    return 0


def data_download(arguments: Namespace) -> int:
    """Download the official CIFAR-10 into the cache."""
    from cifar_core.data import cifar10

    screen = Screen(quiet=arguments.json)

    def progress(done: int, total: int | None) -> None:
        total = total or cifar10.ARCHIVE_BYTES
        screen.bar("CIFAR-10", done / total, f"{done / 1e6:,.0f} of {total / 1e6:,.0f} MB")

    try:
        found = cifar10.download(progress)
    finally:
        screen.clear()
    answer = {
        "dataset": found.name,
        "label": found.label,
        "source": found.source,
        "train_images": len(found.train_labels),
        "test_images": len(found.test_labels),
        "fingerprint": found.fingerprint,
        "official": found.official,
    }
    reply(arguments, answer, [f"{found.label} is in {found.source}."])
    return 0


def data_cache(arguments: Namespace) -> int:
    """Tell what the store of computed features holds, or empty it."""
    from cifar_core.features import cache

    budget, freed = cache.budget_bytes(), cache.clear() if arguments.clear else 0
    entries = cache.contents()
    total = sum(entry["bytes"] for entry in entries)
    data = {
        "folder": str(cache.store_dir()),
        "budget_bytes": budget,
        "bytes": total,
        "freed_bytes": freed,
        "entries": entries,
    }
    lines = [f"Freed {freed / 1e6:,.0f} MB."] if arguments.clear else []
    lines.append(f"{cache.store_dir()}: {total / 1e6:,.0f} MB of at most {budget / 1e9:g} GB.")
    if entries:
        rows = [_entry_row(entry) for entry in sorted(entries, key=lambda entry: -entry["last_used"])]
        lines += table(("MB", "last used", "layer", "α", "size", "view"), rows)
    reply(arguments, data, lines)
    return 0


def reply(arguments: Namespace, data: Any, lines: Sequence[str]) -> None:
    """Print `data` as JSON, or `lines`, whichever was asked for. Raises CifarError if that is not taken."""
    try:
        print(json.dumps(_without_nan(data), indent=1) if arguments.json else "\n".join(lines), flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        discard_output()
        raise CifarError(f"The answer cannot be written: {error.strerror}; make room, or send it elsewhere.") from None


def _answer_state(arguments: Namespace, run: Run, more: str = "") -> int:
    state = run.state
    reply(arguments, {"id": run.id, "status": state}, [f"Run {run.id} is {state}. {more}".strip()])
    return 0


def _without_nan(data: Any) -> Any:
    """Return `data` with None in place of the numbers that JSON does not know."""
    if isinstance(data, dict):
        return {key: _without_nan(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_without_nan(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def _pictures(names: Sequence[str]) -> Iterator[Picture]:
    """Yield what files, folders (with all below them but what is hidden) and zips hold, in order."""
    from cifar_core.inference.pictures import Picture, read_each

    for name in names:
        for path in _files(name):
            try:
                content = _content(path)
            except ImageError as error:
                yield Picture(path, error=str(error))
            else:
                yield from read_each([(path, content)])


def _files(name: str) -> list[str]:
    """Return the files in the folder `name`, in order; `name` itself if it is none, or has none."""
    from cifar_core.inference.zip_pictures import is_hidden

    folder = Path(name)
    try:
        below = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []
    except OSError:
        below = []
    wanted = (path for path in below if not is_hidden(str(path.relative_to(folder))))
    return [str(path) for path in wanted] or [name]


def _content(path: str) -> bytes:
    """Return a file's bytes. Raises ImageError if it cannot be read, is no plain file or is too large for a zip."""
    from cifar_core.inference.zip_pictures import MAX_ZIP_BYTES

    try:
        facts = Path(path).stat()
        if stat.S_ISDIR(facts.st_mode):
            raise ImageError(f"{quoted(path)} is a folder without a file; give one that holds pictures.")
        if not stat.S_ISREG(facts.st_mode):
            raise ImageError(f"{quoted(path)} is not a plain file; give a picture, a folder or a zip of pictures.")
        if facts.st_size > MAX_ZIP_BYTES:
            raise ImageError(
                f"{quoted(path)} has {facts.st_size / 2**20:,.0f} MiB, and at most {MAX_ZIP_BYTES / 2**20:,.0f} are "
                "read; shrink the picture, or pack the pictures into several zips."
            )
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "a name that no file can have"
        raise ImageError(f"{quoted(path)} cannot be read: {reason}; check the path.") from None


def _say_model(arguments: Namespace, classifier: Classifier) -> None:
    """Tell on standard error which model answers; for a program only what it must not overlook."""
    from cifar_core.data.cifar10 import LABELS
    from cifar_core.inference.classifier import BUNDLED

    if classifier.name == BUNDLED:
        words, is_generated = "The bundled model answers.", False
    else:
        dataset = str(runs.get(classifier.name).result.get("dataset"))
        words = f"Run {classifier.name} answers, trained on: {shown_name(dataset)}."
        is_generated = dataset == LABELS["generated"]
    if is_generated or not arguments.json:
        complain(words)


def _sentence(answer: dict[str, Any]) -> str:
    """Return one picture's answer: `cat.png  cat 93.1 %  (dog 4.0 %, frog 1.1 %)`."""
    ranked = sorted(answer["probabilities"].items(), key=lambda item: -item[1])
    best, *others = [f"{label} {percent(share)}" for label, share in ranked if share >= _SURE or label == ranked[0][0]]
    also = f"  ({', '.join(others[:2])})" if others else ""
    unusual = "  [unusual for this model]" if answer.get("none_of_the_ten") else ""
    return f"{shown_name(answer['file'])}  {best}{also}{unusual}"


def _save_csv(path: str, answers: Sequence[dict[str, Any]]) -> None:
    """Write the answers as CSV. Raises ImageError if the file cannot be written."""
    from cifar_core.inference.gallery import to_csv

    try:
        Path(path).write_bytes(to_csv(answers))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "a name that no file can have"
        raise ImageError(f"{quoted(path)} cannot be written: {reason}; give another file for the CSV.") from None


def _entry_row(entry: dict[str, Any]) -> list[str]:
    about = entry["about"]
    used = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry["last_used"]))
    words = [shown_name(str(about.get(key, "-"))) for key in ("layer", "alpha", "image_size", "view")]
    return [f"{entry['bytes'] / 1e6:,.0f}", used, *words]
