"""A short visit of a few people to the real server: no error anywhere. (`python -m tests.load` is the long one.)"""

import asyncio
import random
import shutil
from dataclasses import replace

import numpy as np
import pytest

from cifar_core import bench_browser, runs
from cifar_core.config import KNOBS, PRESETS, TrainConfig
from cifar_core.data import cifar10
from cifar_core.network import pretrained
from cifar_core.runs import Run
from tests.load import many_runs
from tests.load.browser import Browser
from tests.load.visitors import PAGES, Visitor

RUNS, VISITORS, ANSWERED = 40, 3, 400
FIGURES = {"accuracy": 0.1, "loss": 3.0, "images": ANSWERED}


@pytest.fixture
def shelved(small_data, tiny_config: TrainConfig) -> list[str]:
    """Finished runs with the network in the box, and made-up answers to some test images."""
    run = runs.create(replace(tiny_config, alpha=0.5, image_size=128, dense_units=128))
    shutil.copyfile(pretrained.bundled_path(0.5).with_suffix(".tflite"), run.path / "model.tflite")
    _, labels = cifar10.samples(ANSWERED, "generated", test=True)
    said = np.random.default_rng(1).dirichlet(np.ones(10), ANSWERED).astype(np.float32)
    answers = {"labels": labels, "probabilities": said}
    np.savez_compressed(
        run.path / "evaluation.npz",
        validation_rows=np.arange(ANSWERED),
        **{f"{split}_{name}": value for split in ("validation", "test") for name, value in answers.items()},
    )
    result = {f"{split}_{key}": value for split in ("validation", "test") for key, value in FIGURES.items()}
    result |= {"best_phase": "head", "best_epoch": 1, "elapsed_seconds": 9.0, "model_bytes": 3_000_000}
    runs.write_json(run.path / "status.json", {"state": "finished", "stage": "done", "result": result})
    ids = many_runs.fill(run.path, RUNS)
    runs.delete(run)
    return ids


@pytest.mark.bundled
@pytest.mark.slow
def test_visitors_on_all_pages_meet_no_error(shelved: list[str], tmp_path) -> None:
    async def visit(address: str, number: int) -> Visitor:
        async with Browser(address) as browser:
            person = Visitor(browser, random.Random(number), shelved[-1], shelved, (0.0, 0.1))
            for page in PAGES:
                await PAGES[page](person)
        return person

    async def all_of_them(address: str) -> list[Visitor]:
        return await asyncio.gather(*(visit(address, number) for number in range(VISITORS)))

    with bench_browser.running_app(tmp_path / "server.log") as app:
        people = asyncio.run(all_of_them(f"localhost:{app.port}"))
    for person in people:
        assert person.browser.problems == []
        opened = {page for page, action, _ in person.taken if action == "open"}
        assert opened == {"train", "classify", "explore", "teach", "evaluate", "learn"}


@pytest.mark.bundled
@pytest.mark.slow
def test_the_settings_of_a_run_come_into_the_knobs_around_the_button_s_fragment(shelved: list[str], tmp_path) -> None:
    async def take_over(address: str, run: Run) -> list[float]:
        async with Browser(address) as browser:
            await browser.go("", f"run={run.id}")
            await browser.use("clone")
            assert browser.problems == []
            return list(browser.widgets["dropout"].content.value)

    before = KNOBS["dropout"].default, PRESETS["quick"].dropout
    run = next(run for run in map(Run, shelved) if run.config.dropout not in before)
    with bench_browser.running_app(tmp_path / "server.log") as app:
        assert asyncio.run(take_over(f"localhost:{app.port}", run)) == pytest.approx([run.config.dropout])
