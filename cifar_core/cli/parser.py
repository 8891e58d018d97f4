"""The arguments of the command line, `python -m cifar_core`: everything that the pages do, for scripts.

    train [--preset P] [--KNOB VALUE ...] [--detach]
    evaluate ID|bundled [--robustness] [--html FILE] [--csv FOLDER]
    runs list [--sort S] [--filter TEXT] | show | stop | resume | delete | restore | keep-phase1 ID | trash [--clear]
    runs rename ID NAME | note ID TEXT | star ID [--off] | time ID | compare ID ID...
    lab [--dropout V ...]                                  data status | download | cache [--clear]
    predict IMAGE... [--run ID|bundled] [--crop CROP] [--csv FILE]
        [--explain PNG] [--nearest N] [--what-if] [--compare ID]
    export ID --format F [--output PATH]
    import ZIP                                             bundle ID
    bench [--quick] [--output FOLDER] [--readme FILE]
    learn [LESSON [--again | --stored]]
    sweep start NAME [--vary KNOB[=RANGE] ...] | list | worker --study NAME
    sweep show | stop | resume | delete | restore NAME

With --json, standard output carries JSON only. Exit code 0: success; 2: invalid input, with one line for each error
on standard error; 1: a bug; 130: Ctrl-C. This module defines the arguments; the other modules define the commands.
"""

from __future__ import annotations

import argparse
import errno
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from cifar_core.cli import benchmark, commands, evaluate, export_commands, learn, run_commands, sweep
from cifar_core.cli import lab as head_lab
from cifar_core.cli.terminal import PROGRAM, complain
from cifar_core.config import KNOBS, PRESET_HELP, PRESETS, Knob
from cifar_core.errors import CifarError, ConfigError
from cifar_core.export.formats import FORMATS
from cifar_core.search import space
from cifar_core.search.head_lab import BASE, SLIDERS

Command = Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command in `arguments` (default: sys.argv) and return the exit code."""
    try:
        parsed = _parser().parse_args(arguments)
        return parsed.command(parsed)
    except CifarError as error:
        complain(error)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        raise
    except OSError as error:
        mend = (
            "make room there" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "check the path and its permissions"
        )
        complain(f"{error.filename or 'A file'} cannot be used: {error.strerror or error}; {mend} and try again.")
        return 2


class _Parser(argparse.ArgumentParser):
    """Reports an error in one line; accepts no abbreviated options, whose meaning would change with a new setting."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Raise ConfigError instead of printing the usage."""
        raise ConfigError(f"{message}; see `{self.prog} --help`.")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog=PROGRAM, description="Train MobileNetV2 on CIFAR-10 and classify pictures.")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_train(subparsers)
    _add_runs(subparsers)
    _add_lab(subparsers)
    predict = _add(subparsers, "predict", commands.predict, "Classify pictures.")
    predict.add_argument("images", nargs="+", metavar="IMAGE", help="a picture, a folder or a zip of pictures")
    predict.add_argument("--run", metavar="ID", help="a finished run, or bundled (default: the newest finished run)")
    predict.add_argument(
        "--crop",
        type=_crop,
        default="centre",
        metavar="CROP",
        help="part of the picture to classify: centre (default), squeeze, or a square X,Y,SIDE in fractions",
    )
    predict.add_argument("--explain", metavar="PNG", help="write an image with the evidence for each answer")
    predict.add_argument("--nearest", metavar="N", type=_count, help="list the N nearest training images, 1 to 100")
    predict.add_argument("--what-if", action="store_true", help="list the changes that flip the answer")
    predict.add_argument(
        "--compare",
        metavar="ID",
        action="append",
        help="compare with another model, disagreements first; repeatable",
    )
    predict.add_argument("--csv", metavar="FILE", help="also write the answers to this file, one picture a line")
    _add_evaluate(subparsers)
    _add_data(subparsers)
    _add_export(subparsers)
    _add_learn(subparsers)
    _add_sweep(subparsers)
    return parser


def _crop(text: str) -> str | tuple[float, float, float]:
    if text in ("centre", "squeeze"):
        return text
    x, y, side = map(float, text.split(","))  # argparse reports a ValueError
    return x, y, side


def _minutes(text: str) -> int:
    minutes = int(text)
    if not 1 <= minutes <= 60:
        raise ValueError
    return minutes


def _count(text: str) -> int:
    count = int(text)
    if not 1 <= count <= 100:
        raise ValueError
    return count


def _add(subparsers: Any, name: str, command: Command, text: str) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(name, help=text, description=text)
    parser.add_argument("--json", action="store_true", help="print JSON only")
    parser.set_defaults(command=command)
    return parser


def _add_train(subparsers: Any) -> None:
    train = _add(
        subparsers, "train", commands.train, "Train a model. Ctrl-C stops the run; closing the terminal does not."
    )
    presets = " ".join(f"{name}: {text}" for name, text in PRESET_HELP.items())
    train.add_argument("--preset", choices=list(PRESETS), default="standard", help=f"{presets} (default: standard)")
    train.add_argument("--detach", action="store_true", help="return at once; the run continues in the background")
    _add_knobs(train)


def _add_knobs(command: argparse.ArgumentParser) -> None:
    groups: dict[str, Any] = {}
    for knob in KNOBS.values():
        if knob.group not in groups:
            groups[knob.group] = command.add_argument_group(knob.group)
        groups[knob.group].add_argument(knob.flag, metavar="VALUE", help=_help(knob))


def _help(knob: Knob) -> str:
    values = ", ".join(map(str, knob.choices)) or f"{knob.low:,.10g} to {knob.high:,.10g}"
    if knob.mistakes:
        values += f" (deliberate mistakes: {', '.join(map(str, knob.mistakes))})"
    standard = getattr(PRESETS["standard"], knob.name)
    return f"{knob.help} {values} {knob.unit}".strip().replace("%", "%%") + f"; standard: {standard}"


def _add_runs(subparsers: Any) -> None:
    actions = subparsers.add_parser("runs", help="List, show, stop, resume or delete runs.").add_subparsers(
        required=True, metavar="ACTION"
    )
    listed = _add(actions, "list", run_commands.list_runs, "List all runs, newest first by default.")
    listed.add_argument(
        "--sort", default="newest", metavar="BY", help=f"one of {', '.join(run_commands.SORTS)}, or a knob"
    )
    listed.add_argument("--reverse", action="store_true", help="reverse the order")
    listed.add_argument(
        "--filter", default="", metavar="TEXT", help="words in name, note, id or state, or SETTING=VALUE"
    )
    listed.add_argument("--starred", action="store_true", help="starred runs only")
    with_id: dict[str, tuple[Command, str]] = {
        "show": (commands.show_run, "Show one run."),
        "stop": (commands.stop_run, "Stop a run; its best and last full epochs are saved."),
        "resume": (commands.resume_run, "Resume a stopped, failed or lost run; returns at once."),
        "restore": (run_commands.restore_run, "Restore a deleted run from the trash."),
        "time": (run_commands.time_run, "Measure and save the latency of a finished run's model for one picture."),
        "keep-phase1": (evaluate.keep_head, "Save the best weights of a run's first phase as a run of their own."),
    }
    for name, (command, text) in with_id.items():
        _add(actions, name, command, text).add_argument("id", metavar="ID", help="the run's id")
    _add_run_actions(actions)


def _add_lab(subparsers: Any) -> None:
    parser = _add(subparsers, "lab", head_lab.train_head, "Train the head alone from cached features, in seconds.")
    for name in SLIDERS:
        knob = KNOBS[name]
        values = f"{knob.low:,.10g} to {knob.high:,.10g} {knob.unit}".strip() + f"; default: {getattr(BASE, name):g}"
        parser.add_argument(knob.flag, metavar="VALUE", help=f"{knob.help} {values}")


def _add_run_actions(actions: Any) -> None:
    delete = _add(actions, "delete", run_commands.delete_run, "Move a run to the trash.")
    delete.add_argument("id", metavar="ID", help="the run's id")
    delete.add_argument("--for-good", action="store_true", help="delete permanently, not to the trash")
    rename = _add(actions, "rename", run_commands.rename_run, "Name a run; an empty name removes it.")
    rename.add_argument("id", metavar="ID", help="the run's id")
    rename.add_argument("name", metavar="NAME", help="the name")
    note = _add(actions, "note", run_commands.note_run, "Add a note to a run; an empty note removes it.")
    note.add_argument("id", metavar="ID", help="the run's id")
    note.add_argument("note", metavar="TEXT", help="the note")
    star = _add(actions, "star", run_commands.star_run, "Star a run.")
    star.add_argument("id", metavar="ID", help="the run's id")
    star.add_argument("--off", action="store_true", help="remove the star")
    compare = _add(
        actions, "compare", run_commands.compare_runs, "Test whether runs differ significantly on the test images."
    )
    compare.add_argument("ids", nargs="+", metavar="ID", help="two or more finished runs")
    trash = _add(actions, "trash", run_commands.list_trash, "List deleted runs.")
    trash.add_argument("--clear", action="store_true", help="delete them permanently")


def _add_evaluate(subparsers: Any) -> None:
    parser = _add(subparsers, "evaluate", evaluate.evaluate, "Show a finished run's accuracy, errors and diagnosis.")
    parser.add_argument("id", metavar="ID", help="a finished run, or bundled")
    parser.add_argument(
        "--robustness", action="store_true", help="measure accuracy under eight corruptions of 2,000 validation images"
    )
    parser.add_argument("--html", metavar="FILE", help="write a self-contained HTML report")
    parser.add_argument("--csv", metavar="FOLDER", help="write the tables to this folder")


def _add_data(subparsers: Any) -> None:
    actions = subparsers.add_parser("data", help="Show the data set, or download CIFAR-10.").add_subparsers(
        required=True, metavar="ACTION"
    )
    _add(actions, "status", commands.data_status, "Show which images a training uses, and why.")
    _add(actions, "download", commands.data_download, "Download the official CIFAR-10 (170 MB) to the cache.")
    cache = _add(actions, "cache", commands.data_cache, "Show the feature cache.")
    cache.add_argument("--clear", action="store_true", help="empty it; features are recomputed when needed")


def _add_export(subparsers: Any) -> None:
    export = _add(
        subparsers, "export", export_commands.export_run, "Export a finished run: model, script, notebook, zip."
    )
    export.add_argument("id", metavar="ID", help="a finished run")
    formats = " ".join(f"{item.name}: {item.help}" for item in FORMATS.values())
    export.add_argument("--format", required=True, choices=list(FORMATS), help=formats)
    export.add_argument(
        "--output", metavar="PATH", help="file or folder (default: a generated name in the current folder)"
    )
    bring = _add(
        subparsers, "import", export_commands.import_run, "Import a run from a zip exported on another machine."
    )
    bring.add_argument("archive", metavar="ZIP", help="the zip")
    bench = _add(subparsers, "bench", benchmark.bench, "Measure this app beside recipe.py, in about 15 minutes.")
    bench.add_argument("--quick", action="store_true", help="5,000 images and fewer figures: some minutes")
    bench.add_argument(
        "--plain-minutes", type=_minutes, default=6, metavar="N", help="the time of recipe.py at most (default: 6)"
    )
    bench.add_argument("--output", metavar="FOLDER", default=".", help="where bench.json goes (default: here)")
    bench.add_argument("--readme", metavar="FILE", help="write the table between the marks in this file, too")
    box = _add(subparsers, "bundle", export_commands.bundle_run, "Ship a finished run's network with the app.")
    box.add_argument("id", metavar="ID", help="a finished run that fine-tuned the whole backbone")


def _add_learn(subparsers: Any) -> None:
    command = _add(subparsers, "learn", learn.learn, "Run a lesson, or list all lessons.")
    command.add_argument("lesson", nargs="?", metavar="LESSON", help="the lesson's name (default: list all lessons)")
    which = command.add_mutually_exclusive_group()
    which.add_argument("--again", action="store_true", help="train again even if this machine has results")
    which.add_argument("--stored", action="store_true", help="show the results shipped with the app")


def _add_sweep(subparsers: Any) -> None:
    actions = subparsers.add_parser("sweep", help="Search over settings.").add_subparsers(
        required=True, metavar="ACTION"
    )
    start = _add(actions, "start", sweep.start, "Start a search over some settings; returns at once.")
    start.add_argument(
        "--preset", choices=list(PRESETS), default="quick", help="the base configuration (default: quick)"
    )
    start.add_argument(
        "--vary",
        metavar="KNOB[=RANGE]",
        action="append",
        help="a setting to vary: over its whole range, over LOW:HIGH or over A,B,C; repeatable "
        f"(default: {', '.join(space.DEFAULT_KNOBS)})",
    )
    start.add_argument("--trials", type=int, metavar="N", help="number of trials (default: 30)")
    start.add_argument("--minutes", type=float, metavar="M", help="total training time, whichever limit comes first")
    start.add_argument("--grid", action="store_true", help="train every combination of the --vary values")
    _add_knobs(start)
    _add(actions, "list", sweep.list_sweeps, "List all sweeps.")
    _add(actions, "show", sweep.show, "Show a sweep: its trials and the best so far.")
    worker = _add(
        actions,
        "worker",
        sweep.worker,
        "Run trials of a sweep in the foreground until it is done; works from any machine.",
    )
    worker.add_argument("--study", required=True, metavar="NAME", help="the sweep's name")
    _add(actions, "stop", sweep.stop, "Stop a sweep; finished trials are kept.")
    resume = _add(actions, "resume", sweep.resume, "Resume or extend a sweep; returns at once.")
    resume.add_argument("--trials", type=int, metavar="N", help="extend the sweep by N trials")
    resume.add_argument("--minutes", type=float, metavar="M", help="extend the sweep by M minutes of training")
    resume.add_argument("--seeds", type=int, metavar="N", help="repeat a grid with N more seeds")
    _add(actions, "delete", sweep.delete, "Delete a sweep; its runs are kept.")
    _add(actions, "restore", sweep.restore, "Restore a deleted sweep.")
    for name, action in actions.choices.items():
        if name not in ("list", "worker"):
            action.add_argument("name", metavar="NAME", help="the sweep's name")
        if name in ("start", "resume"):
            action.add_argument(
                "--workers", type=int, metavar="N", help="number of processes (default: one for each GPU)"
            )
        action.add_argument(
            "--storage", metavar="URL", help="postgresql://... (default: CIFAR_SWEEP_STORAGE, or a file)"
        )
