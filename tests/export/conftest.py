from collections.abc import Callable

import numpy as np
import pytest

from cifar_core import runs
from cifar_core.config import TrainConfig
from cifar_core.data import cifar10
from cifar_core.network import litert, pretrained
from cifar_core.network.architecture import top_channels

TEST_IMAGES = 400


def named_weights(config: TrainConfig) -> dict[str, np.ndarray]:
    """Random weights of the whole network, whose answers differ from image to image."""
    rng = np.random.default_rng(7)
    channels, units = top_channels(config.alpha), config.dense_units
    named = dict(pretrained.load("random", config.alpha, config.image_size, 3).named)
    for name, values in named.items():
        if name.endswith("kernel"):
            inputs = 9 if "depthwise" in name else np.prod(values.shape[:3])
            named[name] = rng.normal(0, (2 / inputs) ** 0.5, values.shape).astype(np.float32)
        elif name.endswith(("gamma", "moving_variance")):
            named[name] = rng.uniform(0.7, 1.4, values.shape).astype(np.float32)
        else:
            named[name] = rng.normal(0.2, 0.3, values.shape).astype(np.float32)
    images, _ = cifar10.samples(TEST_IMAGES, "generated", test=True)
    content = litert.build(named, config.alpha, config.image_size, config.scaling, ("pooled",))
    pooled = litert.Network(content).run(images)["pooled"]
    named |= {"head_norm/moving_mean": pooled.mean(axis=0), "head_norm/moving_variance": pooled.var(axis=0)}
    named |= {"head_norm/gamma": np.ones(channels, np.float32), "head_norm/beta": np.zeros(channels, np.float32)}
    for layer, shape in (("head_dense", (channels, units)), ("head_output", (units, 10))):
        named[f"{layer}/kernel"] = rng.normal(0, (2 / shape[0]) ** 0.5, shape).astype(np.float32)
        named[f"{layer}/bias"] = np.zeros(shape[1], np.float32)
    return named


def write_finished(run: runs.Run) -> runs.Run:
    """Give `run` the files of a finished one, but for best.keras: an untrained network, and what it really says."""
    config = run.config
    content = litert.build(
        named_weights(config), config.alpha, config.image_size, config.scaling, ("pooled", "probabilities")
    )
    (run.path / "model.tflite").write_bytes(content)
    images, labels = cifar10.samples(TEST_IMAGES, "generated", test=True)
    said = litert.Network(content).run(images)["probabilities"]
    np.savez_compressed(
        run.path / "evaluation.npz",
        validation_rows=np.arange(TEST_IMAGES),
        validation_labels=labels,
        validation_probabilities=said,
        test_labels=labels,
        test_probabilities=said,
    )
    data = {"name": "generated", "label": "synthetic images", "fingerprint": "0" * 16}
    first = {"kind": "random", "label": "random numbers (seed 1)", "fingerprint": "1" * 16}
    runs.write_json(run.path / "environment.json", {"python": "3.11.7", "cores": 2, "data": data, "weights": first})
    accuracy = float((said.argmax(axis=1) == labels).mean())
    loss = float(-np.log(np.maximum(said[np.arange(len(labels)), labels], 1e-12)).mean())
    result = {
        f"{name}_{key}": value
        for name in ("validation", "test")
        for key, value in (("accuracy", accuracy), ("loss", loss), ("images", TEST_IMAGES))
    }
    result |= {
        "best_phase": "fine_tune", "best_epoch": 2, "parameters": 1, "model_bytes": len(content),
        "litert_max_difference": 0.0, "dataset": cifar10.LABELS["generated"], "weights": "random numbers (seed 1)",
        "elapsed_seconds": 12.5,
    }  # fmt: skip
    rows = []
    for phase in ("head", "fine_tune"):
        for epoch in (1, 2):
            numbers = {
                "loss": 1.5 / epoch,
                "cross_entropy": 1.2,
                "accuracy": 0.4 * epoch,
                "learning_rate": 1e-3,
                "images_per_second": 900.0,
            }
            common = {"phase": phase, "epoch": epoch, "elapsed_seconds": float(epoch), "seconds_left": 1.0}
            rows.append({"kind": "step", "step": 5, "steps": 10, **common, **numbers})
            validation = {
                "validation_loss": 1.0,
                "validation_cross_entropy": 0.8,
                "validation_accuracy": 0.5,
                "epochs": 2,
                "images": 800,
            }
            rows.append({"kind": "epoch", "epoch_seconds": 1.0, **common, **numbers, **validation})
    rows.append({"kind": "progress", "stage": "test", "done": 5, "total": 5, "seconds_left": 0.0,
                 "elapsed_seconds": 12.0})  # fmt: skip
    import json

    (run.path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (run.path / "summary.txt").write_text("the layers")
    runs.write_json(run.path / "status.json", {"state": "finished", "stage": "done", "result": result})
    return run


@pytest.fixture
def finished_run(run: runs.Run) -> runs.Run:
    """A finished run with everything but best.keras."""
    return write_finished(run)


@pytest.fixture
def make_run() -> Callable[..., runs.Run]:
    """A function that makes a new run of the tiny configuration with other knobs."""

    def make(**knobs: object) -> runs.Run:
        tiny = {"dataset": "generated", "train_images": 1_000, "alpha": 0.35, "image_size": 32, "weights": "random",
                "dense_units": 16, "head_epochs": 1, "fine_tune_epochs": 1}  # fmt: skip
        return runs.create(TrainConfig(**{**tiny, **knobs}))

    return make


@pytest.fixture
def finish_run() -> Callable[[runs.Run], runs.Run]:
    """What gives a run the files of a finished one."""
    return write_finished
