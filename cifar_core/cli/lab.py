"""The head lab in a terminal: trains the head with five knobs as given, in the lab's own process."""

from __future__ import annotations

import time
from argparse import Namespace

from cifar_core.cli.commands import reply
from cifar_core.cli.terminal import Screen, number, percent
from cifar_core.config import KNOBS
from cifar_core.errors import TrainingError
from cifar_core.search import head_lab
from cifar_core.search.head_lab import BASE, SLIDERS, Result, Settings

_POLL_SECONDS = 0.1


def train_head(arguments: Namespace) -> int:
    """Train one head, or tell what is known of it, and print its epochs."""
    given = {name: getattr(arguments, name) for name in SLIDERS}
    settings = Settings(**{name: KNOBS[name].parse(text) for name, text in given.items() if text is not None})
    found = _known(settings) or _wait(settings, Screen(quiet=arguments.json))
    base = head_lab.status().get("base")
    data = {"settings": vars(settings), "held_fixed": base, "seconds": found.seconds, "epochs": list(found.rows)}
    low, high = found.interval
    lines = [
        f"epoch {row['epoch']:>2}  training accuracy {percent(row['accuracy'])}  validation accuracy "
        f"{percent(row['validation_accuracy'])}  validation cross-entropy {number(row['validation_cross_entropy'])}"
        for row in found.rows
    ]
    lines.append(f"Validation accuracy {percent(found.accuracy)} (95 % interval {percent(low)} to {percent(high)}).")
    if isinstance(base, dict):
        lines.append(f"Images: {base.get('images')}. Initial weights: {base.get('weights')}.")
    reply(arguments, data, lines)
    return 0


def _known(settings: Settings) -> Result | None:
    found = head_lab.result(settings)
    return found if found and found.state == "done" else None


def _wait(settings: Settings, screen: Screen) -> Result:
    """Ask for `settings` and return what came of them. Raises TrainingError if nothing does."""
    head_lab.start()
    head_lab.ask(settings)
    try:
        while True:
            found, status = head_lab.result(settings), head_lab.status()
            if found and found.state == "done":
                return found
            if found and found.state == "failed":
                raise TrainingError(found.message)
            newest = head_lab.requested()
            if newest is None or newest[0] != settings:
                raise TrainingError("Somebody asked the lab for other settings meanwhile; ask again.")
            if status["state"] in ("off", "failed"):
                why = status.get("message", "its process ended")
                raise TrainingError(
                    f"The lab cannot go on: {why}; its last words are in {head_lab.lab_dir() / 'lab.log'}."
                )
            epochs = len(found.rows) if found and found.state == "computing" else 0
            screen.bar(str(status["state"]), epochs / BASE.head_epochs)
            time.sleep(_POLL_SECONDS)
    finally:
        screen.clear()
