"""The command line, `python -m cifar_core`; docs/command-line.md lists the commands.

With --json, standard output contains only JSON. Exit codes: 0 success; 2 invalid input, with one line for each error on
standard error; 1 a bug; 130 Ctrl-C. The other modules contain the commands: functions of the parsed arguments,
imported when they run.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import os
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from cifar_core.cli.terminal import PROGRAM, Answer, to_stderr
from cifar_core.config import KNOBS, PRESET_HELP, PRESETS, Knob, TrainConfig
from cifar_core.errors import CifarError, ConfigError
from cifar_core.evaluation.listing import SORTS
from cifar_core.export.exports import FORMATS
from cifar_core.search import space
from cifar_core.search.head_lab import BASE, SLIDERS
from cifar_core.search.studies import STORAGE_VARIABLE
from cifar_core.teach.project import ALPHAS, IMAGE_SIZES

Argument = tuple[str, dict[str, Any]]
"""Name of a positional argument or a flag, and further arguments of `add_argument`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command in `arguments` (default: sys.argv) and return its exit code."""
    try:
        parsed = _parser().parse_args(arguments)
        if getattr(parsed, "storage", None) is not None:
            os.environ[STORAGE_VARIABLE] = parsed.storage  # the command and its workers read it
        answer: Answer = find(parsed.command)(parsed)
        answer.write(parsed.json)
        return answer.code
    except CifarError as error:
        to_stderr(error)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        raise
    except OSError as error:
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        advice = "free disk space there" if is_full else "check the path and its permissions"
        to_stderr(f"{error.filename or 'A file'} cannot be used: {error.strerror or error}; {advice} and try again.")
        return 2


def find(command: str) -> Callable[[argparse.Namespace], Answer]:
    """Return the function of a command, "module.function" in this package; only its module is imported."""
    module, _, function = command.partition(".")
    found: Callable[[argparse.Namespace], Answer] = getattr(
        importlib.import_module(f"cifar_core.cli.{module}"), function
    )
    return found


class _Parser(argparse.ArgumentParser):
    """Parser with one-line errors and without abbreviated options: a new option would change their meaning."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Raise ConfigError instead of printing the usage."""
        raise ConfigError(f"{message}; see '{self.prog} --help'.")


def _crop(text: str) -> str | tuple[float, float, float]:
    if text in ("center", "centre", "squeeze"):
        return "squeeze" if text == "squeeze" else "centre"
    x, y, side = map(float, text.split(","))  # argparse reports a ValueError
    return x, y, side


def _between(low: int, high: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not low <= int(text) <= high:
            raise ValueError
        return int(text)

    return number


def _argument(name: str, metavar: str | None, text: str, **options: Any) -> Argument:
    return name, {"metavar": metavar, "help": text, **options}


def _switch(name: str, text: str, **options: Any) -> Argument:
    return name, {"help": text, "action": "store_true", **options}


def _knob(knob: Knob, defaults: TrainConfig) -> Argument:
    values = ", ".join(map(str, knob.choices)) or (
        "none, bundled or a run's id" if knob.pattern else f"{knob.low:,.10g} to {knob.high:,.10g}"
    )
    if knob.mistakes:
        values += f" (deliberate mistakes: {', '.join(map(str, knob.mistakes))})"
    text = f"{knob.help} {values} {knob.unit}".strip() + f"; default: {knob.short(getattr(defaults, knob.name))}"
    return _argument(knob.flag, "VALUE", text.replace("%", "%%"))


def _command(subparsers: Any, name: str, command: str, text: str, *arguments: Argument) -> argparse.ArgumentParser:
    """Add the command `name`, which calls `find(command)`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(name, help=text, description=text)
    for flag, options in (_switch("--json", "print JSON only"), *arguments):
        parser.add_argument(flag, **options)
    parser.set_defaults(command=command)
    return parser


def _add_training(parser: argparse.ArgumentParser, usual: str, text: str) -> None:
    """Add the preset and all knobs, in groups."""
    parser.add_argument(
        "--preset", choices=list(PRESETS), default=usual, help=f"{text} (default: {usual}; it sets the defaults below)"
    )
    groups = {knob.group: parser.add_argument_group(knob.group) for knob in KNOBS.values()}
    for knob in KNOBS.values():
        flag, options = _knob(knob, PRESETS[usual])
        groups[knob.group].add_argument(flag, **options)


def _actions(commands: Any, name: str, text: str) -> Any:
    return commands.add_parser(name, help=text).add_subparsers(required=True, metavar="ACTION")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog=PROGRAM, description="Train MobileNetV2 on CIFAR-10 and classify pictures.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    training = _command(
        commands, "train", "train.train", "Train a model. Ctrl-C stops the run; closing the terminal does not.",
        _switch("--detach", "return at once; the run continues in the background"),
    )  # fmt: skip
    _add_training(training, "standard", " ".join(f"{name}: {text}" for name, text in PRESET_HELP.items()))
    _add_runs(_actions(commands, "runs", "List, show, stop, resume or delete runs."))
    _add_models(commands)
    actions = _actions(commands, "data", "Show the data set, or download CIFAR-10.")
    _command(actions, "status", "train.data_status", "Show which images a training run uses, and why.")
    _command(actions, "download", "train.download_data", "Download the official CIFAR-10 (170 MB) to the cache.")
    clear = _switch("--clear", "empty it; features are recomputed when needed")
    _command(actions, "cache", "train.show_cache", "Show the feature cache.", clear)
    _command(commands, "doctor", "doctor.doctor", "Check this machine and suggest fixes.")
    _add_learn(commands)
    _add_sweep(_actions(commands, "sweep", "Search over settings."))
    _command(
        commands, "lab", "search.lab", "Train the head alone from cached features, in seconds.",
        *(_knob(KNOBS[name], BASE) for name in SLIDERS),
    )  # fmt: skip
    return parser


def _add_runs(actions: Any) -> None:
    sorts = f"one of {', '.join(SORTS)}, or a setting"
    _command(
        actions, "list", "run_commands.list_runs", "List all runs, newest first by default.",
        _argument("--sort", "BY", sorts, default="newest"),
        _switch("--reverse", "reverse the order"),
        _argument("--filter", "TEXT", "words in name, note, id or state, or SETTING=VALUE", default=""),
        _switch("--starred", "starred runs only"),
    )  # fmt: skip
    run = _argument("id", "ID", "the run's id")
    table: tuple[tuple[str, str, str, tuple[Argument, ...]], ...] = (
        ("show", "run_commands.show", "Show one run.", ()),
        ("stop", "run_commands.stop", "Stop a run; its best and last full epochs are saved.", ()),
        ("resume", "run_commands.resume", "Resume a stopped, failed or lost run; returns at once.", ()),
        ("restore", "run_commands.restore", "Restore a deleted run from the trash.", ()),
        ("time", "run_commands.measure_latency", "Measure and save the latency of a run's model for one picture.", ()),
        ("keep-phase1", "run_commands.keep_head", "Save the best weights of a run's first phase as a run.", ()),
        (
            "delete", "run_commands.delete", "Move a run to the trash.",
            (_switch("--for-good", "delete permanently, not to the trash"),),
        ),
        (
            "rename", "run_commands.label", "Name a run; an empty name removes it.",
            (_argument("name", "NAME", "the name"),),
        ),
        (
            "note", "run_commands.label", "Add a note to a run; an empty note removes it.",
            (_argument("note", "TEXT", "the note"),),
        ),
        (
            "star", "run_commands.label", "Star a run.",
            (("--off", {"dest": "starred", "action": "store_false", "help": "remove the star"}),),
        ),
    )  # fmt: skip
    for name, command, text, arguments in table:
        _command(actions, name, command, text, run, *arguments)
    text = "Train runs of apps on other machines in the foreground; CIFAR_SWEEP_STORAGE names the database."
    _command(actions, "worker", "run_commands.worker", text)
    several = _argument("ids", "ID", "two or more finished runs", nargs="+")
    text = "Test whether runs differ significantly on the test images."
    _command(actions, "compare", "run_commands.compare", text, several)
    clear = _switch("--clear", "delete them permanently")
    _command(actions, "trash", "run_commands.list_trash", "List deleted runs.", clear)


def _add_models(commands: Any) -> None:
    _command(
        commands, "teach", "teach.teach", "Train a linear head on your own classes, in seconds.",
        _argument("folder", "FOLDER", "a folder or ZIP file with a folder for each class (default: list)", nargs="?"),
        _argument("--name", "NAME", "the project's name (default: the folder's)"),
        _argument("--alpha", None, "width of the network (default: 0.5)", type=float, choices=ALPHAS, default=0.5),
        _argument("--image-size", None, "input size, pixels (default: 96)", type=int, choices=IMAGE_SIZES, default=96),
    )  # fmt: skip
    crop = "part of the picture to classify: center (default), squeeze, or a square X,Y,SIDE in fractions"
    _command(
        commands, "predict", "predict.predict", "Classify pictures.",
        _argument("images", "IMAGE", "a picture, a folder or a ZIP file of pictures", nargs="+"),
        _argument("--run", "ID", "a finished run, bundled, or teach/NAME (default: the newest finished, no trial)"),
        _argument("--crop", "CROP", crop, type=_crop, default="centre"),
        _argument("--explain", "PNG", "write an image with the evidence for each prediction"),
        _argument("--nearest", "N", "list the N nearest training images, 1 to 100", type=_between(1, 100)),
        _switch("--what-if", "list the changes to the picture that alter the prediction"),
        _argument("--compare", "ID", "compare with another model, disagreements first; repeatable", action="append"),
        _argument("--csv", "FILE", "also write the predictions to this file, one picture per line"),
    )  # fmt: skip
    _command(
        commands, "evaluate", "finished.evaluate", "Show a finished run's accuracy, errors and diagnosis.",
        _argument("id", "ID", "a finished run, or bundled"),
        _switch("--robustness", "measure accuracy under eight corruptions of 2,000 validation images"),
        _switch("--map", "compute the data map of 2,000 validation images"),
        _argument("--mislabeled", "N", "list N possibly mislabeled test images", type=_between(1, 10_000)),
        _argument("--html", "FILE", "write a self-contained HTML report"),
        _argument("--csv", "FOLDER", "write the tables to this folder"),
    )  # fmt: skip
    formats = " ".join(f"{item.name}: {item.help}" for item in FORMATS.values())
    _command(
        commands, "export", "finished.export_run", "Export a finished run: model, script, notebook, zip.",
        _argument("id", "ID", "a finished run, or teach/NAME"),
        _argument("--format", None, formats, required=True, choices=list(FORMATS)),
        _argument("--output", "PATH", "file or folder (default: a generated name in the current folder)"),
    )  # fmt: skip
    text = "Import a run from a ZIP file exported on another machine."
    _command(commands, "import", "finished.import_run", text, _argument("archive", "ZIP", "the ZIP file"))
    run = _argument("id", "ID", "a finished run that fine-tuned the whole backbone")
    _command(commands, "bundle", "finished.bundle_run", "Ship a finished run's network with the app.", run)
    _command(
        commands, "bench", "train.run_bench", "Compare this app with recipe.py; takes about 15 minutes.",
        _switch("--quick", "5,000 images and fewer figures; takes a few minutes"),
        _argument("--plain-minutes", "N", "longest time of recipe.py (default: 6)", type=_between(1, 60), default=6),
        _argument("--output", "FOLDER", "where bench.json goes (default: here)", default="."),
        _argument("--readme", "FILE", "write the table between the marks in this file, too"),
    )  # fmt: skip


def _add_learn(commands: Any) -> None:
    name = _argument("lesson", "LESSON", "the lesson's name (default: list all lessons)", nargs="?")
    which = _command(
        commands, "learn", "search.learn", "Run a lesson, or list all lessons.", name
    ).add_mutually_exclusive_group()
    which.add_argument("--again", action="store_true", help="train again even if this machine has results")
    which.add_argument("--stored", action="store_true", help="show the results shipped with the app")


def _add_sweep(actions: Any) -> None:
    sweep = _argument("name", "NAME", "the search's name")
    storage = _argument("--storage", "URL", "postgresql://... (default: CIFAR_SWEEP_STORAGE, or a file)")
    workers = _argument("--workers", "N", "number of processes (default: one for each GPU)", type=int)
    vary = (
        "a setting to vary: over its whole range, over LOW:HIGH or over A,B,C; repeatable "
        f"(default: {', '.join(space.DEFAULT_KNOBS)})"
    )
    start = _command(
        actions, "start", "search.start_sweep", "Start a search over some settings; returns at once.",
        sweep, storage, workers,
        _argument("--vary", "KNOB[=RANGE]", vary, action="append"),
        _argument("--trials", "N", "number of trials (default: 30)", type=int),
        _argument("--minutes", "M", "total training time, whichever limit comes first", type=float),
        _switch("--grid", "train every combination of the --vary values"),
    )  # fmt: skip
    _add_training(start, "quick", "the base configuration")
    _command(actions, "list", "search.list_sweeps", "List all searches.", storage)
    _command(actions, "show", "search.show_sweep", "Show a search: its trials and the best so far.", sweep, storage)
    _command(
        actions, "worker", "search.sweep_worker",
        "Run trials of a search in the foreground until it is done; works from any machine.", storage,
        _argument("--study", "NAME", "the search's name", required=True),
    )  # fmt: skip
    _command(actions, "stop", "search.stop_sweep", "Stop a search; finished trials are saved.", sweep, storage)
    _command(
        actions, "resume", "search.resume_sweep", "Resume or extend a search; returns at once.",
        sweep, storage, workers,
        _argument("--trials", "N", "extend the search by N trials", type=int),
        _argument("--minutes", "M", "extend the search by M minutes of training", type=float),
        _argument("--seeds", "N", "repeat a grid with N more seeds", type=int),
    )  # fmt: skip
    _command(actions, "delete", "search.delete_sweep", "Delete a search; its runs stay.", sweep, storage)
    _command(actions, "restore", "search.restore_sweep", "Restore a deleted search.", sweep, storage)
