"""The lessons: what ships, what the runs here are, and what goes on inside a network."""

import json
from dataclasses import replace

import numpy as np
import pytest
from lesson_outcomes import MADE, made_up

from cifar_core import jobs, runs
from cifar_core.config import KNOBS, TrainConfig
from cifar_core.data import cifar10, synthetic
from cifar_core.errors import RunError
from cifar_core.inference import activations
from cifar_core.jobs import Stopped
from cifar_core.lessons import catalogue, experiments, layer_probe
from cifar_core.lessons.experiments import CONDITIONS, Outcome
from cifar_core.lessons.layer_probe import Layers, Probed
from cifar_core.network import litert, pretrained
from cifar_core.runs import Run, write_json


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """The runs that were started, in place of workers."""
    found: list[Run] = []

    def start(config: TrainConfig, name: str) -> Run:
        found.append(runs.create(config, name))
        return found[-1]

    monkeypatch.setattr(jobs, "start_run", start)
    return found


@pytest.fixture(scope="module")
def content() -> bytes:
    """A network of random numbers as a LiteRT file."""
    named = pretrained.load("random", 0.35, 64, 1).named
    return litert.build(named, 0.35, 64, "minus_one_to_one", ("pooled",))


class TestOutcome:
    def test_it_comes_back_from_json(self) -> None:
        one = made_up()
        again = Outcome.from_dict(json.loads(json.dumps(one.to_dict())))
        assert again.to_dict() == one.to_dict()
        assert (again.config, again.figures, again.made) == (one.config, one.figures, one.made)

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("curves", {}),
            ("figures", {"validation_accuracy": "0.9"}),
            ("figures", None),
            ("made", {"command": "x"}),
            ("inside", {"histogram": [], "norms": [], "last_map": [], "latency_ms": 1}),
            ("planned", None),
        ],
    )
    def test_damage_is_a_sentence(self, key: str, value: object) -> None:
        with pytest.raises(RunError, match="run the lesson here"):
            Outcome.from_dict(made_up().to_dict() | {key: value})

    def test_results_without_arms_are_damaged(self) -> None:
        with pytest.raises(RunError, match="no arms"):
            experiments.outcomes({"lesson": "scaling"})

    def test_a_run_without_figures_is_no_lesson(self, run: Run) -> None:
        with pytest.raises(RunError, match="finished run"):
            experiments.outcome_of("scaling", run)


class TestAnswers:
    @pytest.mark.parametrize(("wrong", "option"), [(0.79, 0), (0.75, 1), (0.6, 2)])
    def test_scaling_counts_the_points_lost(self, wrong: float, option: int) -> None:
        found = catalogue.answer_scaling({"right": made_up(0.8), "wrong": made_up(wrong), "wild": made_up(0.5)})
        assert found[0] == option
        assert f"{80 - 100 * wrong:.1f} points" in found[1]

    @pytest.mark.parametrize(("last", "option"), [(0.8, 0), (0.5, 1), (0.1, 2)])
    def test_freezing_looks_at_the_last_epoch(self, last: float, option: int) -> None:
        arms = {"right": made_up(), "never": made_up(), "all": made_up(0.85, last=last)}
        assert catalogue.answer_freezing(arms)[0] == option

    @pytest.mark.parametrize(("training", "option"), [(0.9, 0), (0.8, 1), (0.6, 2)])
    def test_augmentation_compares_training_with_validation(self, training: float, option: int) -> None:
        arms = {"right": made_up(), "none": made_up(), "hard": made_up(0.8, training)}
        assert catalogue.answer_augmentation(arms)[0] == option

    @pytest.mark.parametrize(("second", "option"), [(0.9, 0), (0.8, 1), (0.7, 2)])
    def test_phases_compare_the_best(self, second: float, option: int) -> None:
        arms = {"both": made_up(0.8), "second": made_up(second), "first": made_up()}
        assert catalogue.answer_phases(arms)[0] == option

    @pytest.mark.parametrize(("low", "high", "option"), [(0.5, 0.7, 0), (0.7, 0.69, 1), (0.7, 0.5, 2)])
    def test_rate_compares_the_low_with_the_high(self, low: float, high: float, option: int) -> None:
        arms = {"right": made_up(0.8), "low": made_up(low), "high": made_up(high)}
        assert catalogue.answer_rate(arms)[0] == option

    @pytest.mark.parametrize(("taught", "option"), [(0.79, 0), (0.81, 0), (0.84, 1), (0.9, 2)])
    def test_teacher_compares_test_accuracy(self, taught: float, option: int) -> None:
        conditions = {
            key: replace(made_up(), figures={**made_up().figures, "test_accuracy": accuracy})
            for key, accuracy in (("alone", 0.8), ("taught", taught))
        }
        assert catalogue.answer_teacher(conditions)[0] == option

    @pytest.mark.parametrize(("best", "option"), [(0.81, 0), (0.84, 1), (0.9, 2)])
    def test_noise_is_the_range_over_the_seeds(self, best: float, option: int) -> None:
        found = catalogue.answer_noise({"1": made_up(0.8), "2": made_up(best), "3": made_up(0.8), "4": made_up(0.8)})
        assert found[0] == option
        assert f"{100 * best - 80:.1f} points apart" in found[1]

    @pytest.mark.parametrize(("block", "option"), [(0, 0), (5, 0), (6, 1), (11, 1), (12, 2), (17, 2), (99, 2)])
    def test_layers_finds_where_six_of_ten_are_right(self, block: int, option: int) -> None:
        names = [layer_probe.PIXELS, *activations.layer_names(0.5)]
        accuracies = [0.7] + [0.7 if number >= block + 1 else 0.4 for number in range(19)]
        network = Probed("w", names, accuracies, [1] * 20)
        assert catalogue.answer_layers(Layers([network, network], 800, 200, 1.0, MADE))[0] == option


class TestHere:
    def test_every_arm_is_started_once_and_shared(self, started: list[Run]) -> None:
        first = experiments.start_runs("scaling")
        assert [run.config for run in started] == [condition.config for condition in CONDITIONS["scaling"].values()]
        assert all(run.id[19:].startswith("learn") for run in started)
        write_json(first["right"].path / "status.json", {"state": "finished"})
        experiments.start_runs("phases")  # its first condition is scaling's right way
        assert len(started) == 3 + 2
        assert experiments.latest_runs("phases")["both"] == first["right"]

    def test_a_finished_arm_is_trained_again_only_when_asked(self, started: list[Run]) -> None:
        for run in experiments.start_runs("phases").values():
            write_json(run.path / "status.json", {"state": "finished"})
        experiments.start_runs("phases")
        assert len(started) == 3
        experiments.start_runs("phases", again=True)
        assert len(started) == 6

    def test_a_finished_run_stands_before_a_newer_failed_one(self, started: list[Run]) -> None:
        config = CONDITIONS["phases"]["both"].config
        finished, failed = (runs.create(config, "learnphasesboth") for _ in range(2))
        write_json(finished.path / "status.json", {"state": "finished"})
        write_json(failed.path / "status.json", {"state": "failed"})
        assert experiments.latest_runs("phases")["both"] == finished

    def test_other_runs_and_damaged_ones_are_none_of_its(self) -> None:
        runs.create(CONDITIONS["phases"]["both"].config, "custom")
        damaged = runs.create(CONDITIONS["phases"]["both"].config, "learnphasesboth")
        (damaged.path / "config.json").write_text("{")
        assert experiments.latest_runs("phases") == {"both": None, "second": None, "first": None}

    def test_those_that_wait_are_stopped_first(self, started: list[Run], monkeypatch: pytest.MonkeyPatch) -> None:
        stopped: list[str] = []
        monkeypatch.setattr(jobs, "stop_run", lambda run: stopped.append(run.id))
        experiments.start_runs("scaling")
        experiments.stop_runs("scaling")
        assert stopped == sorted((run.id for run in started), reverse=True)

    def test_the_time_is_that_of_what_is_missing(self, started: list[Run]) -> None:
        everything = experiments.expected_seconds("scaling")
        write_json(experiments.start_runs("scaling")["wild"].path / "status.json", {"state": "finished"})
        assert 0 < experiments.expected_seconds("scaling") < everything

    def test_every_arm_takes_at_most_5000_images(self) -> None:
        for arms in CONDITIONS.values():
            for condition in arms.values():
                assert condition.config.train_images <= 5_000
                assert TrainConfig.from_dict(condition.config.to_dict()) == condition.config
                assert set(condition.config.to_dict()) == {"schema", *KNOBS}


class TestInside:
    def test_the_histogram_of_the_wrong_scale_has_an_empty_half(self) -> None:
        images = synthetic.images(10, 1)[0]
        wrong, right = (experiments.histogram(images, scaling) for scaling in ("zero_to_one", "minus_one_to_one"))
        half = experiments.HISTOGRAM_BINS // 2
        assert sum(wrong[:half]) == 0 and sum(right[:half]) > 0.2
        assert sum(wrong) == pytest.approx(1) and sum(right) == pytest.approx(1)

    def test_taps_leave_the_network_as_it_was(self, content: bytes) -> None:
        images = synthetic.images(3, 1)[0]
        plain, tapped = (
            litert.Network(content).run(images),
            litert.Network(activations.with_layer_outputs(content, 0.35)).run(images),
        )
        assert np.array_equal(plain["pooled"], tapped["pooled"])
        assert np.allclose(tapped[activations.TOP].mean(axis=(1, 2)), plain["pooled"], atol=1e-5)
        assert [tapped[name].shape[1] for name in activations.layer_names(0.35)] == [32] * 2 + [16] * 2 + [8] * 3 + [
            4
        ] * 7 + [2] * 5

    def test_taps_of_another_width_are_refused(self, content: bytes) -> None:
        with pytest.raises(RunError, match="not MobileNetV2"):
            activations.with_layer_outputs(content.replace(b"block_7_", b"block_x_"), 0.35)

    def test_a_finished_run_is_looked_into(self, run: Run, content: bytes) -> None:
        head = _headed(0.35, 32)
        write_json(
            run.path / "environment.json",
            {
                "data": {"name": "generated", "label": "synthetic", "fingerprint": "d"},
                "weights": {"label": "random numbers", "fingerprint": "w"},
            },
        )
        (run.path / "model.tflite").write_bytes(head)
        found = experiments.measure(run)
        assert len(found.histogram) == experiments.HISTOGRAM_BINS and len(found.norms) == 19
        assert len(found.last_map) == 1 and found.latency_ms > 0
        assert all(norm > 0 for norm in found.norms)

    def test_a_run_without_a_model_is_told_of(self, run: Run) -> None:
        with pytest.raises(RunError, match="has no model"):
            experiments.measure(run)


def _headed(alpha: float, size: int) -> bytes:
    """A whole network of random numbers."""
    rng = np.random.default_rng(3)
    named = dict(pretrained.load("random", alpha, size, 1).named)
    for name, value in {"gamma": 1, "beta": 0, "moving_mean": 0, "moving_variance": 1}.items():
        named[f"head_norm/{name}"] = np.full(1280, value, np.float32)
    for name, shape in {"head_dense": (1280, 16), "head_output": (16, 10)}.items():
        named[f"{name}/kernel"] = rng.normal(0, shape[0] ** -0.5, shape).astype(np.float32)
        named[f"{name}/bias"] = np.zeros(shape[1], np.float32)
    return litert.build(named, alpha, size, "minus_one_to_one", ("pooled", "probabilities"))


SMALL = TrainConfig(dataset="generated", train_images=1_000, alpha=0.5, image_size=32, weights="random")


@pytest.fixture
def few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small built-in set: 200 images, of which a fifth validates."""
    monkeypatch.setattr(synthetic, "TRAIN_IMAGES", 200)
    monkeypatch.setattr(synthetic, "TEST_IMAGES", 20)


@pytest.mark.usefixtures("few_images")
class TestLayers:
    def test_every_layer_is_probed_and_beats_guessing_somewhere(self) -> None:
        heard: list[tuple[int, int]] = []
        found = layer_probe.probe(lambda *step: heard.append(step), SMALL)
        assert heard == [(done, 40) for done in range(41)]
        first, other = found.networks
        assert first.layers == [layer_probe.PIXELS, *activations.layer_names(0.5)]
        assert first.features[0] == 3072 and first.features[-1] == 1280
        assert all(0 <= accuracy <= 1 for accuracy in first.accuracies)
        assert max(first.accuracies) > 0.2  # 40 images of ten classes
        assert first.accuracies == other.accuracies  # here both are the same random numbers
        assert (found.training_images, found.validation_images) == (160, 40)
        assert found.made.data == cifar10.LABELS["generated"]
        assert Layers.from_dict(json.loads(json.dumps(found.to_dict()))) == found

    def test_it_works_watched_and_keeps_what_it_found(self, monkeypatch: pytest.MonkeyPatch) -> None:
        states: list[dict] = []
        monkeypatch.setattr(layer_probe, "probe", _played(states))
        assert layer_probe.job().read() == {"state": "none"} and layer_probe.result() is None
        found = layer_probe.run_job(lambda done, total: None)
        assert [state["state"] for state in states] == ["working"] * 2
        assert states[1]["done"] == 1 and states[1]["seconds_left"] >= 0
        assert layer_probe.job().read() == {"state": "done"}
        assert layer_probe.result() == found

    def test_it_stops_when_asked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(layer_probe, "probe", _played([]))
        with pytest.raises(Stopped):
            layer_probe.run_job(lambda done, total: layer_probe.job().ask_to_stop())
        assert layer_probe.job().read() == {"state": "stopped"} and layer_probe.result() is None

    def test_two_at_once_are_one_too_many(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(layer_probe, "probe", _played([]))

        def again(done: int, total: int) -> None:
            layer_probe.run_job(lambda *_: None)

        with pytest.raises(RunError, match="already"):
            layer_probe.run_job(again)
        assert layer_probe.job().read()["state"] == "failed"

    def test_a_killed_probe_is_told_of(self) -> None:
        layer_probe.job().file(".json").parent.mkdir(parents=True)
        write_json(layer_probe.job().file(".progress.json"), {"state": "working", "done": 3, "total": 40})
        assert layer_probe.job().read()["state"] == "failed"

    @pytest.mark.parametrize("damage", [{"networks": []}, {"networks": 5}, {"made": {}}, {"seconds": "x"}])
    def test_damage_is_a_sentence(self, damage: dict) -> None:
        network = Probed("w", [layer_probe.PIXELS, *activations.layer_names(0.5)], [0.5] * 20, [1] * 20)
        saved = Layers([network, replace(network)], 800, 200, 1.0, MADE).to_dict()
        assert Layers.from_dict(saved)
        with pytest.raises(RunError, match="run the lesson here"):
            Layers.from_dict(saved | damage)


def _played(states: list[dict]):
    """Return what plays `layer_probe.probe` in two steps, noting the states that others see meanwhile."""
    network = Probed("w", [layer_probe.PIXELS, *activations.layer_names(0.5)], [0.5] * 20, [1] * 20)

    def run(progress):
        for done in (0, 1):
            progress(done, 2)
            states.append(layer_probe.job().read())
        progress(2, 2)
        return Layers([network, network], 800, 200, 1.0, MADE)

    return run
