"""The command line, `python -m cifar_core`; docs/command-line.md lists the commands.

With --json, standard output contains only JSON. Exit codes: 0 success; 2 invalid input, with one line for each error on
standard error; 1 a bug; 130 Ctrl-C. The other modules contain the commands: functions of the parsed arguments,
imported when they run.
"""

import argparse
import errno
import os
import pkgutil
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from cifar_core.cli.terminal import PROGRAM, Answer, discard_output, to_stderr
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
        answer: Answer = pkgutil.resolve_name(f"cifar_core.cli.{parsed.command}")(parsed)
        answer.write(parsed.json)
        return answer.code
    except CifarError as error:
        to_stderr(error)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader, such as `head`, closed the pipe
        discard_output()
        return 0
    except OSError as error:
        if not error.filename:  # standard output
            discard_output()
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        advice = "free disk space there" if is_full else "check the path and its permissions"
        to_stderr(
            f"{error.filename or 'The output'} cannot be used: {error.strerror or error}; {advice} and try again."
        )
        return 2


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
    try:
        x, y, side = map(float, text.split(","))
        return x, y, side
    except ValueError:
        raise argparse.ArgumentTypeError(f"received {text[:40]!r}, expected center, squeeze or X,Y,SIDE") from None


def _up_to(most: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not (text.isdecimal() and len(text) < 10 and 1 <= int(text) <= most):
            raise argparse.ArgumentTypeError(f"received {text[:40]!r}, expected a number from 1 to {most:,}")
        return int(text)

    return number


def _argument(name: str, metavar: str | None, text: str, **options: Any) -> Argument:
    return name, {"metavar": metavar, "help": text, **options}


def _switch(name: str, text: str) -> Argument:
    return name, {"help": text, "action": "store_true"}


def _knob(knob: Knob, defaults: TrainConfig) -> Argument:
    values = ", ".join(map(str, knob.choices)) or (
        "none, bundled or a run's id" if knob.pattern else f"{knob.low:,.10g} to {knob.high:,.10g}"
    )
    if knob.mistakes:
        values += f" (deliberate mistakes: {', '.join(map(str, knob.mistakes))})"
    text = f"{knob.help} {values} {knob.unit}".strip() + f"; default: {knob.short(getattr(defaults, knob.name))}"
    return _argument(knob.flag, "VALUE", text.replace("%", "%%"), type=knob.parse)


def _training(parser: argparse.ArgumentParser, usual: str, text: str) -> None:
    """Add the preset and all knobs, in groups."""
    text = f"{text} (default: {usual}; it sets the defaults below)"
    parser.add_argument("--preset", choices=list(PRESETS), default=usual, help=text)
    groups = {knob.group: parser.add_argument_group(knob.group) for knob in KNOBS.values()}
    for knob in KNOBS.values():
        flag, options = _knob(knob, PRESETS[usual])
        groups[knob.group].add_argument(flag, **options)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog=PROGRAM, description="Train MobileNetV2 on CIFAR-10 and classify pictures.")
    groups: dict[str, Any] = {"": parser.add_subparsers(required=True, metavar="COMMAND")}
    commands: dict[str, argparse.ArgumentParser] = {}
    for words, function, text, *arguments in _COMMANDS:
        group, _, name = words.rpartition(" ")
        if group not in groups:
            actions = groups[""].add_parser(group, help=_GROUPS[group])
            groups[group] = actions.add_subparsers(required=True, metavar="ACTION")
        commands[words] = groups[group].add_parser(name, help=text, description=text)
        commands[words].set_defaults(command=function)
        for flag, options in (_switch("--json", "print JSON only"), *arguments):
            commands[words].add_argument(flag, **options)
    _training(commands["train"], "standard", " ".join(f"{name}: {text}" for name, text in PRESET_HELP.items()))
    _training(commands["sweep start"], "quick", "the base configuration")
    which = commands["learn"].add_mutually_exclusive_group()
    which.add_argument("--again", action="store_true", help="train again even if this machine has results")
    which.add_argument("--stored", action="store_true", help="show the results shipped with the app")
    return parser


_GROUPS = {
    "runs": "List, show, stop, resume or delete runs.",
    "data": "Show the data set, or download CIFAR-10.",
    "sweep": "Search over settings.",
}
_RUN = _argument("id", "ID", "the run's id")
_SEARCH = _argument("name", "NAME", "the search's name")
_STORAGE = _argument("--storage", "URL", "postgresql://... (default: CIFAR_SWEEP_STORAGE, or a file)")
_WORKERS = _argument("--workers", "N", "number of processes (default: one for each GPU)", type=int)
_COMMANDS: tuple[tuple[Any, ...], ...] = (
    ("train", "train:train", "Train a model. Ctrl-C stops the run; closing the terminal does not.",
     _switch("--detach", "return at once; the run continues in the background")),
    ("runs list", "run_commands:list_runs", "List all runs, newest first by default.",
     _argument("--sort", "BY", f"one of {', '.join(SORTS)}, or a setting", default="newest"),
     _switch("--reverse", "reverse the order"),
     _argument("--filter", "TEXT", "words in name, note, id or state, or SETTING=VALUE", default=""),
     _switch("--starred", "starred runs only")),
    ("runs show", "run_commands:show", "Show one run.", _RUN),
    ("runs stop", "run_commands:stop", "Stop a run; its best and last full epochs are saved.", _RUN),
    ("runs resume", "run_commands:resume", "Resume a stopped, failed or lost run; returns at once.", _RUN),
    ("runs restore", "run_commands:restore", "Restore a deleted run from the trash.", _RUN),
    ("runs time", "run_commands:measure_latency", "Measure and save the latency of a run's model for one picture.",
     _RUN),
    ("runs keep-phase1", "run_commands:keep_head", "Save the best weights of a run's first phase as a run.", _RUN),
    ("runs delete", "run_commands:delete", "Move a run to the trash.", _RUN,
     _switch("--for-good", "delete permanently, not to the trash")),
    ("runs rename", "run_commands:label", "Name a run; an empty name removes it.", _RUN,
     _argument("name", "NAME", "the name")),
    ("runs note", "run_commands:label", "Add a note to a run; an empty note removes it.", _RUN,
     _argument("note", "TEXT", "the note")),
    ("runs star", "run_commands:label", "Star a run.", _RUN,
     ("--off", {"dest": "starred", "action": "store_false", "help": "remove the star"})),
    ("runs worker", "run_commands:worker",
     "Train runs of apps on other machines in the foreground; CIFAR_SWEEP_STORAGE names the database."),
    ("runs compare", "run_commands:compare", "Test whether runs differ significantly on the test images.",
     _argument("ids", "ID", "two or more finished runs", nargs="+")),
    ("runs trash", "run_commands:list_trash", "List deleted runs.", _switch("--clear", "delete them permanently")),
    ("teach", "teach:teach", "Train a linear head on your own classes, in seconds.",
     _argument("folder", "FOLDER", "a folder or ZIP file with a folder for each class (default: list)", nargs="?"),
     _argument("--name", "NAME", "the project's name (default: the folder's)"),
     _argument("--alpha", None, "width of the network (default: 0.5, or as in the ZIP file)", type=float,
               choices=ALPHAS),
     _argument("--image-size", None, "input size, pixels (default: 96, or as in the ZIP file)", type=int,
               choices=IMAGE_SIZES)),
    ("predict", "predict:predict", "Classify pictures.",
     _argument("images", "IMAGE", "a picture, a folder or a ZIP file of pictures", nargs="+"),
     _argument("--run", "ID", "a finished run, bundled, or teach/NAME (default: the newest finished, no trial)"),
     _argument("--crop", "CROP", "part of the picture to classify: center (default), squeeze, or a square X,Y,SIDE in "
               "fractions", type=_crop, default="centre"),
     _argument("--explain", "PNG", "write an image with the evidence for each prediction"),
     _argument("--nearest", "N", "list the N nearest training images, 1 to 100", type=_up_to(100)),
     _switch("--what-if", "list the changes to the picture that alter the prediction"),
     _argument("--compare", "ID", "compare with another model, disagreements first; repeatable", action="append"),
     _argument("--csv", "FILE", "also write the predictions to this file, one picture per line")),
    ("evaluate", "finished:evaluate", "Show a finished run's accuracy, errors and diagnosis.",
     _argument("id", "ID", "a finished run, or bundled"),
     _switch("--robustness", "measure accuracy under eight corruptions of 2,000 validation images"),
     _switch("--map", "compute the data map of 2,000 validation images"),
     _argument("--mislabeled", "N", "list N possibly mislabeled test images", type=_up_to(10_000)),
     _argument("--html", "FILE", "write a self-contained HTML report"),
     _argument("--csv", "FOLDER", "write the tables to this folder")),
    ("export", "finished:export_run", "Export a finished run: model, script, notebook, zip.",
     _argument("id", "ID", "a finished run, or teach/NAME"),
     _argument("--format", None, " ".join(f"{item.name}: {item.help}" for item in FORMATS.values()), required=True,
               choices=list(FORMATS)),
     _argument("--output", "PATH", "file or folder (default: a generated name in the current folder)")),
    ("import", "finished:import_run", "Import a run from a ZIP file exported on another machine.",
     _argument("archive", "ZIP", "the ZIP file")),
    ("bundle", "finished:bundle_run", "Ship a finished run's network with the app.",
     _argument("id", "ID", "a finished run that fine-tuned the whole backbone")),
    ("bench", "train:run_bench", "Compare this app with recipe.py; takes about 15 minutes.",
     _switch("--quick", "5,000 images and fewer figures; takes a few minutes"),
     _argument("--plain-minutes", "N", "longest time of recipe.py (default: 6)", type=_up_to(60), default=6),
     _argument("--output", "FOLDER", "where bench.json goes (default: here)", default="."),
     _argument("--readme", "FILE", "write the table between the marks in this file, too")),
    ("data status", "train:data_status", "Show which images a training run uses, and why."),
    ("data download", "train:download_data", "Download the official CIFAR-10 (170 MB) to the cache."),
    ("data cache", "train:show_cache", "Show the feature cache.",
     _switch("--clear", "empty it; features are recomputed when needed")),
    ("doctor", "train:doctor", "Check this machine and suggest fixes."),
    ("learn", "search:learn", "Run a lesson, or list all lessons.",
     _argument("lesson", "LESSON", "the lesson's name (default: list all lessons)", nargs="?")),
    ("sweep start", "search:start_sweep", "Start a search over some settings; returns at once.",
     _SEARCH, _STORAGE, _WORKERS,
     _argument("--vary", "KNOB[=RANGE]", "a setting to vary: over its whole range, over LOW:HIGH or over A,B,C; "
               f"repeatable (default: {', '.join(space.DEFAULT_KNOBS)})", action="append"),
     _argument("--trials", "N", "number of trials (default: 30)", type=int),
     _argument("--minutes", "M", "total training time, whichever limit comes first", type=float),
     _switch("--grid", "train every combination of the --vary values")),
    ("sweep list", "search:list_sweeps", "List all searches.", _STORAGE),
    ("sweep show", "search:show_sweep", "Show a search: its trials and the best so far.", _SEARCH, _STORAGE),
    ("sweep worker", "search:sweep_worker",
     "Run trials of a search in the foreground until it is done; works from any machine.",
     _STORAGE, _argument("--study", "NAME", "the search's name", required=True)),
    ("sweep stop", "search:stop_sweep", "Stop a search; finished trials are saved.", _SEARCH, _STORAGE),
    ("sweep resume", "search:resume_sweep", "Resume or extend a search; returns at once.",
     _SEARCH, _STORAGE, _WORKERS,
     _argument("--trials", "N", "extend the search by N trials", type=int),
     _argument("--minutes", "M", "extend the search by M minutes of training", type=float),
     _argument("--seeds", "N", "repeat a grid with N more seeds", type=int)),
    ("sweep delete", "search:delete_sweep", "Delete a search; its runs stay.", _SEARCH, _STORAGE),
    ("sweep restore", "search:restore_sweep", "Restore a deleted search.", _SEARCH, _STORAGE),
    ("lab", "search:lab", "Train the head alone from cached features, in seconds.",
     *(_knob(KNOBS[name], BASE) for name in SLIDERS)),
)  # fmt: skip
"""Each command, in the order of --help: its words, its function "module:function" in this package, text, arguments."""
