"""State and results of a sweep as plain data: trials, best trial, importance, noise, Pareto front."""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from cifar_core.config import KNOBS
from cifar_core.errors import ConfigError
from cifar_core.runs import records
from cifar_core.search import space, studies, sweep_workers
from cifar_core.search.space import Goal, Plan, Range

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

COSTS: Mapping[str, tuple[str, str]] = {
    "latency_ms": ("Time for one image", "ms"),
    "model_bytes": ("Model file", "bytes"),
    "seconds": ("Training time", "s"),
}
"""Costs to compare with accuracy, attributes of a trial: name -> label and unit."""
ENOUGH_TRIALS = 15
"""Minimum number of completed trials for importances."""
_ENDED = ("finished", "pruned", "failed")
_NEGLIGIBLE = 0.05
"""A setting that explains a smaller share of the variation does not matter."""
_EDGE = 0.02
"""Share of a range that counts as its edge, on a log scale for logarithmic ranges."""


@dataclass(frozen=True)
class Trial:
    """A trial. `state` is "waiting", "running", "interrupted", "finished", "pruned" or "failed".

    `params` are the values of its knobs. `accuracy` is the best validation accuracy, 0..1; `curve` contains (epoch,
    accuracy) from epoch 1. None means not yet known.
    """

    number: int
    state: str
    params: Mapping[str, Any]
    accuracy: float | None
    curve: tuple[tuple[int, float], ...]
    run: str | None
    seconds: float | None
    model_bytes: float | None
    latency_ms: float | None
    error: str | None


@dataclass(frozen=True)
class Cell:
    """A combination of a grid: its values, and the trials of its seeds so far."""

    values: Mapping[str, Any]
    trials: tuple[Trial, ...]

    @property
    def accuracies(self) -> list[float]:
        """The validation accuracies so far, 0..1."""
        return [trial.accuracy for trial in self.trials if trial.accuracy is not None]

    @property
    def mean(self) -> float | None:
        """The mean accuracy; None without trials."""
        return statistics.fmean(self.accuracies) if self.accuracies else None

    @property
    def spread(self) -> float | None:
        """The standard deviation of the accuracies; None for fewer than two."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else None


@dataclass(frozen=True)
class Findings:
    """State and results of a sweep.

    `state` is "running", "stopping", "stopped", "interrupted", "failed" or "finished". `trials` are in order of
    number, without uncounted ones (`studies.uncounted`).
    """

    name: str
    state: str
    plan: Plan
    goal: Goal
    trials: tuple[Trial, ...]
    workers: int

    @property
    def is_live(self) -> bool:
        """Whether a worker is running."""
        return self.state in ("running", "stopping")

    @property
    def share(self) -> float:
        """The progress toward the goal, 0..1."""
        seconds = self.goal.seconds
        return min(1.0, max(self.done / self.goal.trials, self.spent_seconds / seconds if seconds else 0.0))

    @property
    def progress(self) -> str:
        """The progress toward the goal as text."""
        if self.goal.seconds:
            return f"{self.done} trial{'s' * (self.done != 1)}, of {self.goal.seconds / 60:g} minutes of training"
        return f"{self.done} of {self.goal.trials} trials"

    @property
    def ended(self) -> list[Trial]:
        """The trials with an accuracy."""
        return [trial for trial in self.trials if trial.accuracy is not None]

    @property
    def best(self) -> Trial | None:
        """The trial with the best validation accuracy, the earliest of equal ones; None without trials."""
        return max(self.ended, key=lambda trial: (trial.accuracy or 0.0, -trial.number), default=None)

    @property
    def done(self) -> int:
        """The number of ended trials in any end state."""
        return sum(trial.state in _ENDED for trial in self.trials)

    @property
    def spent_seconds(self) -> float:
        """The seconds of training so far."""
        return sum(trial.seconds or 0.0 for trial in self.trials)

    @property
    def at_edge(self) -> dict[str, str]:
        """The knobs with the best value at an end of their range: "low" or "high".

        Empty for fewer than five trials, since any of them may be the best by chance.
        """
        if self.best is None or len(self.ended) < 5 or self.plan.grid:
            return {}
        edges = {item.knob: _edge(item, self.best.params[item.knob]) for item in self.plan.ranges}
        return {knob: side for knob, side in edges.items() if side}

    def front(self, cost: str) -> list[Trial]:
        """Return the Pareto front of accuracy and `cost` (one of COSTS), cheapest first."""
        known = [trial for trial in self.ended if getattr(trial, cost) is not None]
        trials: list[Trial] = []
        for trial in sorted(known, key=lambda trial: (getattr(trial, cost), -(trial.accuracy or 0.0))):
            if not trials or (trial.accuracy or 0.0) > (trials[-1].accuracy or 0.0):
                trials.append(trial)
        return trials

    def cells(self) -> list[Cell]:
        """Return the cells of a grid, in the order of its choices."""
        return [
            Cell(values, tuple(trial for trial in self.trials if values.items() <= trial.params.items()))
            for values in self.plan.cells()
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return the findings as JSON types."""
        best = self.best
        values = {
            "name": self.name,
            "state": self.state,
            "plan": self.plan.to_dict(),
            "goal": asdict(self.goal),
            "workers": self.workers,
            "done": self.done,
            "seconds": self.spent_seconds,
            "best": best and asdict(best),
            "at_edge": self.at_edge,
            "front": {cost: [trial.number for trial in self.front(cost)] for cost in COSTS},
            "trials": [asdict(trial) for trial in self.trials],
        }
        if self.plan.grid:
            values["cells"] = [
                {"values": dict(one.values), "accuracies": one.accuracies, "mean": one.mean, "spread": one.spread}
                for one in self.cells()
            ]
        return values


@dataclass(frozen=True)
class Noise:
    """Noise of a repeated grid, in shares of accuracy.

    `spread` is the standard deviation between seeds, pooled over the cells. If cells do not differ, the range of their
    means exceeds `significant` in 5% of grids (Tukey's honestly significant difference, which accounts for the number
    of cells). `extent` is the measured range.
    """

    spread: float
    significant: float
    extent: float

    @property
    def is_significant(self) -> bool:
        """Whether the range of the means exceeds the noise."""
        return self.extent > self.significant

    @property
    def words(self) -> str:
        """A sentence for the user."""
        spread, significant, extent = (f"{100 * share:.1f}" for share in (self.spread, self.significant, self.extent))
        verdict = (
            f"Cells whose means are more than {significant} points apart differ significantly"
            if self.is_significant
            else f"No two cells differ significantly: for that, means must be more than {significant} points apart"
        )
        return (
            f"{verdict} (Tukey, 95%); the highest and the lowest are {extent} points apart. Between seeds, accuracy "
            f"varies by ±{spread} points (standard deviation)."
        )


def noise(cells: Sequence[Cell]) -> Noise | None:
    """Return the noise of a grid, or None unless at least two cells have trials and one has two seeds."""
    tried = [cell for cell in cells if cell.accuracies]
    freedom = sum(len(cell.accuracies) - 1 for cell in tried)
    if not freedom or len(tried) < 2:
        return None
    seeds = min(len(cell.accuracies) for cell in tried)  # the smallest number in a cell
    spread = math.sqrt(sum((len(cell.accuracies) - 1) * (cell.spread or 0.0) ** 2 for cell in tried) / freedom)
    means = [cell.mean or 0.0 for cell in tried]
    significant = _studentized_range(len(tried), freedom) * spread / math.sqrt(seeds)
    return Noise(spread, significant, max(means) - min(means))


@functools.lru_cache(maxsize=256)
def _studentized_range(groups: int, freedom: int) -> float:
    """Return the 95% quantile of the studentized range of `groups` means; takes half a second."""
    from scipy.stats import studentized_range

    return float(studentized_range.ppf(0.95, groups, freedom))


def importances(sweep: Findings) -> dict[str, float]:
    """Return the share of the accuracy's variation that each setting explains (Optuna's fANOVA), with sum 1.

    Empty for fewer than ENOUGH_TRIALS completed trials, or if all accuracies are equal. A pruned trial counts with
    its last accuracy.
    """
    import optuna
    from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

    if len(sweep.ended) < ENOUGH_TRIALS:
        return {}
    study = optuna.create_study(direction="maximize")
    spaces: dict[str, BaseDistribution] = {
        item.knob: CategoricalDistribution(item.choices)
        if item.choices
        else FloatDistribution(item.low, item.high, log=item.log)
        for item in sweep.plan.ranges
    }
    try:
        for trial in sweep.ended:
            params = {knob: trial.params[knob] for knob in spaces}
            study.add_trial(optuna.create_trial(value=trial.accuracy, params=params, distributions=spaces))
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=1)
        return optuna.importance.get_param_importances(study, evaluator=evaluator)
    except (RuntimeError, ValueError):
        return {}


def conclusion(sweep: Findings, shares: Mapping[str, float]) -> str:
    """Return sentences on the best trial and on the settings that matter; `shares` come from `importances`."""
    best, count = sweep.best, len(sweep.ended)
    if best is None:
        return "No trial has ended yet."
    values = space.in_words({item.knob: best.params[item.knob] for item in sweep.plan.ranges})
    sentence = f"Best: {', '.join(values)}, {best.accuracy:.1%} validation accuracy."
    if count < ENOUGH_TRIALS:
        few = "1 trial is" if count == 1 else f"{count} trials are"
        return f"{sentence} {few} too few to tell which setting matters; run at least {ENOUGH_TRIALS}."
    ranked = sorted(shares, key=lambda knob: -shares[knob])
    ranges = space.describe(sweep.plan)
    negligible = [f"{KNOBS[knob].label} ({ranges[knob]})" for knob in ranked[1:] if shares[knob] < _NEGLIGIBLE]
    if not ranked:
        return f"{sentence} No setting makes a difference here."
    verb = "does" if len(negligible) == 1 else "do"
    more = f"; {' and '.join(negligible)} {verb} not matter here" if negligible else ""
    return f"{KNOBS[ranked[0]].label} matters most{more}. {sentence}"


def find(name: str) -> Findings:
    """Return the findings of sweep `name`. Raises SweepError if it does not exist or is damaged."""
    study, shared = studies.open_study(name), bool(studies.storage_url())
    workers = len(sweep_workers.living_workers(name))
    try:
        plan, everything = studies.plan_of(study), study.get_trials(deepcopy=False)
        uncounted = studies.uncounted(everything)
        alone = not workers and not shared
        trials = tuple(_trial(trial, plan, alone) for trial in everything if trial.number not in uncounted)
        state = _state(study, trials, workers, shared)
        return Findings(name, state, plan, studies.goal_of(study), trials, workers)
    except (*studies.DAMAGE, ConfigError) as error:
        raise studies.damaged(name, error) from None


def _state(study: Study, trials: Sequence[Trial], workers: int, shared: bool) -> str:
    elsewhere = shared and any(trial.state == "running" for trial in trials)
    stopping = studies.is_asked_to_stop(study)
    if workers or (elsewhere and not stopping):
        return "stopping" if stopping else "running"
    if studies.is_done(study) and not any(trial.state in ("running", "interrupted") for trial in trials):
        return "finished"  # a limit of time leaves waiting trials
    if stopping:
        return "stopped"
    ended = [trial for trial in trials if trial.state in _ENDED]
    return "failed" if ended and all(trial.state == "failed" for trial in ended) else "interrupted"


def _trial(trial: FrozenTrial, plan: Plan, alone: bool) -> Trial:
    """Return `trial` as data. If no worker is running (`alone`), a running trial is interrupted.

    Raises one of `studies.DAMAGE` or ConfigError if its values are damaged.
    """
    attrs: dict[str, Any] = records.sanitized(trial.user_attrs)
    names = {"COMPLETE": "finished", "FAIL": "failed"} | ({"RUNNING": "interrupted"} if alone else {})
    state = names.get(trial.state.name, trial.state.name.lower())
    saved = trial.params or trial.system_attrs.get("fixed_params", {})
    params = {name: KNOBS[name].check(space.rounded(name, value)) for name, value in saved.items() if name in KNOBS}
    accuracy = records.amount(attrs.get("accuracy"), 1) if state in ("finished", "pruned") else None
    if accuracy is not None and not all(item.knob in params for item in plan.ranges):
        raise LookupError("an ended trial lacks a value")
    return Trial(
        trial.number,
        state,
        params,
        accuracy,
        tuple((epoch, share) for epoch, share in sorted(trial.intermediate_values.items()) if 0 <= share <= 1),
        run if isinstance(run := attrs.get("run"), str) else None,
        records.amount(attrs.get("seconds")),
        records.amount(attrs.get("model_bytes")),
        records.amount(attrs.get("latency_ms")),
        str(attrs["error"]) if state == "failed" and attrs.get("error") else None,
    )


def _edge(item: Range, value: Any) -> str:
    """Return the end of `item` at which the value lies, "low" or "high", or "" if at none or unordered."""
    if isinstance(value, str) or len(item.choices) == 1:
        return ""
    if item.choices:
        return {min(item.choices): "low", max(item.choices): "high"}.get(value, "")
    scale = math.log if item.log else float
    place = (scale(value) - scale(item.low)) / (scale(item.high) - scale(item.low))
    return "low" if place <= _EDGE else "high" if place >= 1 - _EDGE else ""
