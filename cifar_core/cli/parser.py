"""The command line, `python -m cifar_core`: everything that the pages do, for scripts and terminals.

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

With --json the answer on standard output is JSON and nothing else. Exit code 0: done; 2: a person's mistake, one
line each on standard error; 1: a bug; 130: Ctrl-C. This file has the words that are understood; what they do is
in commands.py, evaluate.py, exchange.py, learn.py and sweep.py.
"""

from __future__ import annotations

import argparse
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
    """Do what `arguments` (by default the process's own) say; return the exit code."""
    try:
        parsed = _parser().parse_args(arguments)
        return parsed.command(parsed)
    except CifarError as error:
        complain(error)
        return 2
    except KeyboardInterrupt:
        return 130


class _Parser(argparse.ArgumentParser):
    """Says in one line what is wrong, and knows no abbreviations, whose meaning would change with a new knob."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Raise ConfigError in place of printing the usage."""
        raise ConfigError(f"{message}; `{self.prog} --help` shows what is understood.")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog=PROGRAM, description="Train MobileNetV2 on CIFAR-10, and let it classify.")
    words = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_train(words)
    _add_runs(words)
    _add_lab(words)
    predict = _add(words, "predict", commands.predict, "Say what pictures show.")
    predict.add_argument("images", nargs="+", metavar="IMAGE", help="a picture, a folder or a zip of pictures")
    predict.add_argument("--run", metavar="ID", help="a finished run, or bundled (default: the newest finished run)")
    predict.add_argument(
        "--crop",
        type=_crop,
        default="centre",
        metavar="CROP",
        help="what of a picture is looked at: centre (the default), squeeze, or X,Y,SIDE in fractions, a square",
    )
    predict.add_argument("--explain", metavar="PNG", help="draw into this file what speaks for each answer")
    predict.add_argument("--nearest", metavar="N", type=_count, help="tell the N nearest training images, up to 100")
    predict.add_argument("--what-if", action="store_true", help="tell at which turn, zoom, light, blur, noise it flips")
    predict.add_argument(
        "--compare",
        metavar="ID",
        action="append",
        help="what this model says too; disagreements first; may be repeated",
    )
    predict.add_argument("--csv", metavar="FILE", help="write the answers into this file too, one picture a line")
    _add_evaluate(words)
    _add_data(words)
    _add_exchange(words)
    _add_learn(words)
    _add_sweep(words)
    return parser


def _crop(text: str) -> str | tuple[float, float, float]:
    if text in ("centre", "squeeze"):
        return text
    x, y, side = map(float, text.split(","))  # argparse makes a sentence of a ValueError
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


def _add(words: Any, name: str, command: Command, text: str) -> argparse.ArgumentParser:
    parser = words.add_parser(name, help=text, description=text)
    parser.add_argument("--json", action="store_true", help="answer in JSON, and with nothing else")
    parser.set_defaults(command=command)
    return parser


def _add_train(words: Any) -> None:
    train = _add(words, "train", commands.train, "Train a model. Ctrl-C stops it, closing the terminal does not.")
    presets = " ".join(f"{name}: {text}" for name, text in PRESET_HELP.items())
    train.add_argument("--preset", choices=list(PRESETS), default="standard", help=f"{presets} (default: standard)")
    train.add_argument("--detach", action="store_true", help="return at once, and let it train")
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
        values += f" (a mistake to be made on purpose: {', '.join(map(str, knob.mistakes))})"
    standard = getattr(PRESETS["standard"], knob.name)
    return f"{knob.help} {values} {knob.unit}".strip().replace("%", "%%") + f"; standard: {standard}"


def _add_runs(words: Any) -> None:
    actions = words.add_parser("runs", help="List, show, stop, resume or delete runs.").add_subparsers(
        required=True, metavar="ACTION"
    )
    listed = _add(
        actions, "list", run_commands.list_runs, "List all runs, newest first unless another order is asked for."
    )
    listed.add_argument(
        "--sort", default="newest", metavar="BY", help=f"one of {', '.join(run_commands.SORTS)}, or a knob"
    )
    listed.add_argument("--reverse", action="store_true", help="the other way round")
    listed.add_argument("--filter", default="", metavar="TEXT", help="words of name, note, id or state, or KNOB=VALUE")
    listed.add_argument("--starred", action="store_true", help="only those with a star")
    with_id: dict[str, tuple[Command, str]] = {
        "show": (commands.show_run, "Show one run."),
        "stop": (commands.stop_run, "Stop a run; its best and its last full epoch remain."),
        "resume": (commands.resume_run, "Let a stopped, failed or lost run go on; returns at once."),
        "restore": (run_commands.restore_run, "Bring a deleted run back from the trash."),
        "time": (run_commands.time_run, "Measure how long a finished run's model takes for one picture, and keep it."),
        "keep-phase1": (evaluate.keep_head, "Make the best weights of a fine-tuned run's phase 1 a run of their own."),
    }
    for name, (command, text) in with_id.items():
        _add(actions, name, command, text).add_argument("id", metavar="ID", help="the run's id")
    _add_shelf(actions)


def _add_lab(words: Any) -> None:
    parser = _add(words, "lab", head_lab.train_head, "Train the head alone from stored features, in seconds.")
    for name in SLIDERS:
        knob = KNOBS[name]
        usual = f"{knob.low:,.10g} to {knob.high:,.10g} {knob.unit}".strip() + f"; default: {getattr(BASE, name):g}"
        parser.add_argument(knob.flag, metavar="VALUE", help=f"{knob.help} {usual}")


def _add_shelf(actions: Any) -> None:
    delete = _add(actions, "delete", run_commands.delete_run, "Move a run to the trash.")
    delete.add_argument("id", metavar="ID", help="the run's id")
    delete.add_argument("--for-good", action="store_true", help="past the trash, never to be restored")
    rename = _add(actions, "rename", run_commands.rename_run, "Give a run a name; an empty one takes it away.")
    rename.add_argument("id", metavar="ID", help="the run's id")
    rename.add_argument("name", metavar="NAME", help="the name")
    note = _add(actions, "note", run_commands.note_run, "Write a note on a run; an empty one takes it away.")
    note.add_argument("id", metavar="ID", help="the run's id")
    note.add_argument("note", metavar="TEXT", help="the note")
    star = _add(actions, "star", run_commands.star_run, "Give a run a star.")
    star.add_argument("id", metavar="ID", help="the run's id")
    star.add_argument("--off", action="store_true", help="take it away")
    compare = _add(actions, "compare", run_commands.compare_runs, "Tell whether runs really differ on the test images.")
    compare.add_argument("ids", nargs="+", metavar="ID", help="two or more finished runs")
    trash = _add(actions, "trash", run_commands.list_trash, "List deleted runs.")
    trash.add_argument("--clear", action="store_true", help="delete them for good")


def _add_evaluate(words: Any) -> None:
    parser = _add(words, "evaluate", evaluate.evaluate, "Tell how good a finished run is, what it gets wrong, and why.")
    parser.add_argument("id", metavar="ID", help="a finished run, or bundled")
    parser.add_argument(
        "--robustness", action="store_true", help="measure accuracy under eight faults, on 2,000 validation images"
    )
    parser.add_argument("--html", metavar="FILE", help="write all of it into this one file, which needs no network")
    parser.add_argument("--csv", metavar="FOLDER", help="write the tables into this folder")


def _add_data(words: Any) -> None:
    actions = words.add_parser("data", help="Tell about the images, or download CIFAR-10.").add_subparsers(
        required=True, metavar="ACTION"
    )
    _add(actions, "status", commands.data_status, "Tell which images a training gets, and why.")
    _add(actions, "download", commands.data_download, "Put the official CIFAR-10 (170 MB) into the cache.")
    cache = _add(actions, "cache", commands.data_cache, "Tell what the store of computed features holds.")
    cache.add_argument("--clear", action="store_true", help="empty it; what is needed again is computed again")


def _add_exchange(words: Any) -> None:
    export = _add(
        words, "export", export_commands.export_run, "Write a finished run to a file: model, script, notebook, zip."
    )
    export.add_argument("id", metavar="ID", help="a finished run")
    formats = " ".join(f"{item.name}: {item.help}" for item in FORMATS.values())
    export.add_argument("--format", required=True, choices=list(FORMATS), help=formats)
    export.add_argument("--output", metavar="PATH", help="file or folder (default: a name of its own, here)")
    bring = _add(words, "import", export_commands.import_run, "Make a run of a zip that another machine exported.")
    bring.add_argument("archive", metavar="ZIP", help="the zip")
    bench = _add(words, "bench", benchmark.bench, "Measure this app beside the plain recipe; up to an hour.")
    bench.add_argument("--quick", action="store_true", help="5,000 images and fewer figures: some minutes")
    bench.add_argument(
        "--plain-minutes", type=_minutes, default=15, metavar="N", help="the plain recipe's time at most (default: 15)"
    )
    bench.add_argument(
        "--output", metavar="FOLDER", default=".", help="where bench.json and bench.svg go (default: here)"
    )
    bench.add_argument("--readme", metavar="FILE", help="write the table between the marks in this file, too")
    box = _add(
        words, "bundle", export_commands.bundle_run, "Make a finished run the network in the box, for all who get it."
    )
    box.add_argument("id", metavar="ID", help="a finished run whose whole base was trained")


def _add_learn(words: Any) -> None:
    command = _add(words, "learn", learn.learn, "Run a lesson, or list them all.")
    command.add_argument("lesson", nargs="?", metavar="LESSON", help="its name; without one, all lessons are listed")
    which = command.add_mutually_exclusive_group()
    which.add_argument("--again", action="store_true", help="train anew what has been trained here before")
    which.add_argument("--stored", action="store_true", help="tell the results that ship with this version")


def _add_sweep(words: Any) -> None:
    actions = words.add_parser("sweep", help="Try many settings, and see what they do.").add_subparsers(
        required=True, metavar="ACTION"
    )
    start = _add(actions, "start", sweep.start, "Try many settings of some knobs; returns at once.")
    start.add_argument("--preset", choices=list(PRESETS), default="quick", help="what is not varied (default: quick)")
    start.add_argument(
        "--vary",
        metavar="KNOB[=RANGE]",
        action="append",
        help="a knob to vary, over its whole table, over LOW:HIGH or over A,B,C; may be repeated "
        f"(default: {', '.join(space.DEFAULT_KNOBS)})",
    )
    start.add_argument("--trials", type=int, metavar="N", help="how many (default: 30)")
    start.add_argument("--minutes", type=float, metavar="M", help="train for so long in all, whatever comes first")
    start.add_argument("--grid", action="store_true", help="train every combination of the values given with --vary")
    _add_knobs(start)
    _add(actions, "list", sweep.list_sweeps, "List all sweeps.")
    _add(actions, "show", sweep.show, "Show one sweep: its trials, the best so far.")
    worker = _add(actions, "worker", sweep.worker, "Work on a sweep, here, until it is done; joins from any machine.")
    worker.add_argument("--study", required=True, metavar="NAME", help="the sweep's name")
    _add(actions, "stop", sweep.stop, "Stop a sweep; what its trials have is kept.")
    resume = _add(actions, "resume", sweep.resume, "Let a sweep go on, or further; returns at once.")
    resume.add_argument("--trials", type=int, metavar="N", help="extend it by so many trials")
    resume.add_argument("--minutes", type=float, metavar="M", help="extend it by so many minutes of training")
    resume.add_argument("--seeds", type=int, metavar="N", help="repeat a grid with so many more seeds")
    _add(actions, "delete", sweep.delete, "Delete a sweep; its runs stay.")
    _add(actions, "restore", sweep.restore, "Bring a deleted sweep back.")
    for name, action in actions.choices.items():
        if name not in ("list", "worker"):
            action.add_argument("name", metavar="NAME", help="the sweep's name")
        if name in ("start", "resume"):
            action.add_argument("--workers", type=int, metavar="N", help="processes; without it one for each GPU")
        action.add_argument(
            "--storage", metavar="URL", help="postgresql://... (default: CIFAR_SWEEP_STORAGE, or a file)"
        )
