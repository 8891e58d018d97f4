"""Start, stop and resume the workers of a sweep: detached processes that outlive the page and the server."""

import contextlib
import itertools
import math
import subprocess

import psutil

from cifar_core import costs, jobs, machine, runs
from cifar_core.data import cifar10
from cifar_core.errors import ConfigError, RunError, SweepError
from cifar_core.runs import records
from cifar_core.search import studies
from cifar_core.search.space import FEATURE_KNOBS, Goal, Plan

WORKER = "cifar_core.training.sweep_worker"
STOP_SECONDS = 1.5  # of the three promised: drawing the page takes time, too
MOST_WORKERS = 16
_SAMPLED = 24
"""Number of combinations for the time estimate."""


def start(
    name: str, plan: Plan, goal: Goal, workers: int | None = None, owner: records.Person = records.NOBODY
) -> None:
    """Create sweep `name` and start `workers` processes (see `start_workers`)."""
    _check(workers)
    studies.create(name, plan, goal)
    records.save_owner(studies.folder(name), owner)
    start_workers(name, workers)


def resume(name: str, workers: int | None = None) -> None:
    """Resume a sweep and its interrupted trials. Raises SweepError if there is nothing to do."""
    study = studies.open_checked(name)
    if living_workers(name):
        raise SweepError(f"Search {name} is running; only one that has ended can be resumed.")
    interrupted = any(trial.state.name == "RUNNING" for trial in study.get_trials(deepcopy=False))
    if studies.is_done(study) and not interrupted:
        raise SweepError(f"Search {name} is done; extend it by some trials or minutes.")
    start_workers(name, workers)


def extend(name: str, trials: int = 0, minutes: float = 0.0, workers: int | None = None) -> None:
    """Extend a sweep by trials or minutes of training; start workers if none is running. Raises SweepError."""
    if trials < 0 or minutes < 0 or not (trials or minutes):
        raise SweepError(f"A search is extended by trials or minutes; received {trials} and {minutes:g}.")
    studies.extend(studies.open_checked(name), trials, minutes * 60)
    if not living_workers(name):
        start_workers(name, workers)


def repeat(name: str, seeds: int = 1, workers: int | None = None) -> None:
    """Train all cells of a grid with more seeds; start workers if none is running. Raises SweepError."""
    studies.repeat(studies.open_checked(name), seeds)
    if not living_workers(name):
        start_workers(name, workers)


def start_workers(name: str, workers: int | None = None) -> None:
    """Start `workers` more processes of a sweep. None means one for each GPU, or one.

    Raises SweepError, or RunError if the disk is full.
    """
    _check(workers)
    studies.ask_to_stop(studies.open_checked(name), False)
    cards = gpus()
    workers = workers or min(max(1, len(cards)), MOST_WORKERS)
    for number in range(workers):
        _spawn(name, cards[number % len(cards)] if len(cards) > 1 and workers > 1 else None)


def stop(name: str) -> None:
    """Stop a sweep within three seconds; its trials continue when it is resumed.

    Workers on other machines read the request from the storage. Workers here are killed if they do not stop in
    time.
    """
    studies.ask_to_stop(studies.open_study(name), True)
    if not jobs.wait_until(lambda: not living_workers(name), STOP_SECONDS):
        for number in living_workers(name):
            try:
                about = runs.load_json(studies.folder(name) / f"worker-{number}.json") or {}
            except RunError as error:
                raise SweepError(f"Worker {number} of search {name} does not stop; {error} End its process.") from None
            jobs.end_process(about, WORKER, psutil.Process.kill)
        jobs.wait_until(lambda: not living_workers(name), STOP_SECONDS)


def delete(name: str) -> None:
    """Delete a sweep (see `studies.delete`). Raises SweepError if a worker is running."""
    trials = studies.open_study(name).get_trials(deepcopy=False) if studies.storage_url() else []
    if living_workers(name) or any(trial.state.name == "RUNNING" for trial in trials):
        raise SweepError(f"Search {name} is running; stop it before it is deleted.")
    studies.delete(name)


def living_workers(name: str) -> list[int]:
    """Return the numbers of the sweep's running workers on this machine."""
    numbers = {lock.stem.removeprefix("worker-"): lock for lock in studies.folder(name).glob("worker-*.lock")}
    return sorted(int(word) for word, lock in numbers.items() if word.isdecimal() and machine.is_locked(lock))


def gpus() -> list[int]:
    """Return the numbers of this machine's NVIDIA GPUs; empty without nvidia-smi."""
    command = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    with contextlib.suppress(OSError, ValueError, subprocess.SubprocessError):
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
        return [int(line) for line in answer.stdout.split()]
    return []


def expected_seconds(plan: Plan, trials: int) -> float:
    """Return the expected seconds of `trials` trials with one worker.

    Each set of features is computed once, and a network is built once for each width and input size.
    """
    names = [item.knob for item in plan.ranges]
    values = (item.choices or (item.low, (item.low + item.high) / 2, item.high) for item in plan.ranges)
    combinations = list(itertools.islice(itertools.product(*values), 5_000))
    known = cifar10.sizes(plan.base.dataset)
    starts, features, each = {}, [], []
    for one in combinations[:: -(-len(combinations) // _SAMPLED)]:
        with contextlib.suppress(ConfigError):  # some combinations are invalid
            config = plan.with_values(dict(zip(names, one, strict=True)))
            stages = costs.estimate(config, known[0], 0).stages
            starts[config.alpha, config.image_size] = stages.pop("start", 0.0)
            features.append(stages.pop("features", 0.0))
            each.append(sum(stages.values()))
    sets = min(trials, math.prod(item.count for item in plan.ranges if item.knob in FEATURE_KNOBS))
    built = min(trials / max(len(starts), 1), 1.0)  # share of the sampled networks
    return built * sum(starts.values()) + (sets * sum(features) + trials * sum(each)) / max(len(each), 1)


def _check(workers: int | None) -> None:
    runs.check_disk()
    if workers is not None and not 1 <= workers <= MOST_WORKERS:
        raise SweepError(f"Workers: received {workers}, expected 1 to {MOST_WORKERS}.")


def _spawn(name: str, gpu: int | None) -> None:
    """Start a worker and wait until it holds its lock. Raises SweepError if it ends before."""
    before = set(living_workers(name))
    variables = {} if gpu is None else {"CUDA_VISIBLE_DEVICES": str(gpu), "CIFAR_SWEEP_GPU": str(gpu)}
    log = studies.folder(name) / "worker.log"
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        worker = jobs.detached([WORKER, name], log, variables)
    except OSError as error:
        raise SweepError(f"The worker's log cannot be written to {log} ({error.strerror}); make it writable.") from None
    jobs.wait_until(lambda: bool(set(living_workers(name)) - before) or worker.poll() is not None, runs.START_SECONDS)
    if not set(living_workers(name)) - before and worker.poll() != 0:
        raise SweepError(f"The worker of search {name} did not start; see {log}.")
