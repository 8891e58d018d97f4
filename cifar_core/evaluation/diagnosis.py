"""What probably went wrong in a run, which knob to move, and the evidence. The rules are in rules.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cifar_core import runs
from cifar_core.config import TrainConfig
from cifar_core.evaluation import story
from cifar_core.evaluation.case import Case, Finding
from cifar_core.evaluation.rules import EARLY_RULES, RULES, healthy, not_a_number
from cifar_core.runs import Run


def diagnose(run: Run) -> list[Finding]:
    """Return what the rules find in `run`, problems first; of a living run only what more epochs would not mend.

    Empty where nothing was trained yet. Raises RunError if its configuration is damaged.
    """
    status = run.status
    error = status.get("error") if status["state"] == "failed" else None
    message = str(error.get("message", "")) if isinstance(error, dict) else ""
    return examine(run.config, run.metrics(), run.result, message, status["state"] not in runs.LIVE_STATES)


def examine(
    config: TrainConfig,
    rows: Sequence[dict[str, Any]],
    result: Mapping[str, Any] | None = None,
    error: str = "",
    ended: bool = True,
) -> list[Finding]:
    """Return what the rules find, problems first; `error` is what a failed run said, `result` the figures."""
    epochs = story.epoch_rows(rows)
    case = Case(config, epochs, story.phases(rows, config.schedule), result or {}, error, ended)
    rules = RULES if ended else EARLY_RULES
    found = [finding for rule in rules if (epochs or rule is not_a_number) and (finding := rule(case))]
    order = ("problem", "hint", "fine")
    found.sort(key=lambda finding: order.index(finding.level))
    if ended and result and epochs and all(finding.level == "fine" for finding in found):
        found.append(healthy(case))
    return found
