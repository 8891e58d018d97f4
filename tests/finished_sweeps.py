"""Sweeps with ended trials, as a worker would have left them."""

import optuna

from cifar_core import runs
from cifar_core.config import TrainConfig
from cifar_core.search import space, studies
from cifar_core.search.space import Goal, Plan

CONFIG = TrainConfig(alpha=0.35, image_size=32, weights="random", train_images=1_000, head_epochs=3, fine_tune_epochs=0)
FIVE = tuple((0.6 + n / 20, {"alpha": (0.35, 0.5)[n % 2], "dropout": 0.5 - n / 10}) for n in range(5))


def play(name: str, *results: tuple[float, dict], goal: int = 20, plan: Plan | None = None) -> optuna.Study:
    """Make a sweep with ended trials."""
    if plan is None:
        plan = Plan(CONFIG, tuple(map(space.parse_range, ("alpha=0.35,0.5", "dropout=0:0.5"))))
    studies.create(name, plan, Goal(goal))
    study = studies.open_study(name)
    for accuracy, params in results:
        if not plan.grid:
            study.enqueue_trial(params)
        trial = study.ask()
        config = plan.config(trial)
        trial.report(accuracy - 0.1, 1)
        trial.report(accuracy, 2)
        run = runs.create(config, "trial")
        runs.write_json(run.path / "status.json", {"state": "finished", "result": {}})
        for key, value in {"accuracy": accuracy, "seconds": 3.0, "model_bytes": 10**6, "run": run.id}.items():
            trial.set_user_attr(key, value)
        trial.set_user_attr("latency_ms", 0.5 + accuracy)
        study.tell(trial, accuracy)
    return study


def grid(*accuracies: float, seeds: int = 0) -> optuna.Study:
    plan = Plan(CONFIG, tuple(map(space.parse_range, ("dropout=0,0.5", "dense_units=16,128"))), grid=True)
    return play("map", *((accuracy, {}) for accuracy in accuracies), goal=4, plan=plan)
