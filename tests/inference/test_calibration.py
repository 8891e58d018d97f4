import json

import numpy as np
import pytest

from cifar_core.errors import RunError
from cifar_core.inference import calibration


@pytest.fixture
def overconfident() -> tuple[np.ndarray, np.ndarray]:
    """What a model says whose logits are three times too large, and labels drawn from what it should have said."""
    rng = np.random.default_rng(1)
    honest = calibration.scaled(np.exp(rng.normal(0, 1.5, (4_000, 10))), 1)
    labels = np.array([rng.choice(10, p=p / p.sum()) for p in honest.astype(float)])
    return calibration.scaled(honest, 1 / 3), labels


def test_the_temperature_undoes_overconfidence(overconfident):
    assert calibration.best_temperature(*overconfident) == pytest.approx(3, rel=0.05)


def test_scaling_lowers_loss_and_calibration_error_and_keeps_every_answer(overconfident):
    said, labels = overconfident
    found = calibration.fit(said, labels)
    assert found.loss[1] < found.loss[0]
    assert found.ece[0] > 0.2
    assert found.ece[1] < 0.03
    after = calibration.scaled(said, found.temperature)
    assert (after.argmax(axis=1) == said.argmax(axis=1)).all()
    assert np.allclose(after.sum(axis=1), 1, atol=1e-5)


def test_temperature_1_changes_nothing_and_zeros_are_no_trouble():
    said = np.array([[1, *[0] * 9], [0.5, 0.5, *[0] * 8]], np.float32)
    assert np.allclose(calibration.scaled(said, 1), said, atol=1e-6)
    assert np.isfinite(calibration.scaled(said, 0.05)).all()
    assert np.isfinite(calibration.scaled(said, 20)).all()


def test_the_temperature_of_a_model_that_is_never_wrong_stays_in_range():
    labels = np.arange(50) % 10
    assert 0.05 <= calibration.best_temperature(np.eye(10)[labels] * 0.9 + 0.01, labels) < 0.5


def test_the_calibration_error_of_a_known_case():
    said = np.zeros((4, 10))
    said[:, 0], said[:, 1] = 0.8, 0.2  # stated 80 %, right half the time
    found = calibration.reliability(said, np.array([0, 0, 1, 1]))
    assert found.ece == pytest.approx(0.3)
    assert (found.confidence.tolist(), found.accuracy.tolist(), found.count.tolist()) == (
        [pytest.approx(0.8)],
        [0.5],
        [4],
    )


def drawn(images: int, too_sure: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities, and labels right as often as they say less `too_sure`."""
    rng = np.random.default_rng(seed)
    confidence = rng.uniform(0.5, 0.95, images)
    said = np.tile((1 - confidence)[:, None] / 9, 10)
    said[:, 0] = confidence
    return said, np.where(rng.random(images) < confidence - too_sure, 0, 1)


def test_a_calibrated_model_has_no_calibration_error_however_few_images():
    found = [calibration.calibration_error(*drawn(1_000, 0.0, seed)) for seed in range(40)]
    plain = [calibration.reliability(*drawn(1_000, 0.0, seed)).ece for seed in range(40)]
    assert np.mean(plain) > 0.03  # the noise of the bins
    assert np.mean([one.value**2 for one in found]) ** 0.5 < 0.025
    assert np.median([one.value for one in found]) < 0.01
    assert np.mean([one.low == 0 for one in found]) > 0.85


def test_the_interval_of_the_calibration_error_holds_the_true_one():
    found = [calibration.calibration_error(*drawn(2_000, 0.1, seed)) for seed in range(40)]
    assert np.mean([one.value for one in found]) == pytest.approx(0.1, abs=0.01)
    assert np.mean([one.low <= 0.1 <= one.high for one in found]) > 0.85


def test_the_threshold_is_above_99_percent_of_the_scores():
    scores = np.random.default_rng(0).normal(size=2_000)
    assert (scores <= calibration.threshold(scores)).mean() == pytest.approx(0.99, abs=0.001)


def test_what_is_saved_is_read_back(tmp_path, overconfident):
    rule = calibration.OutOfDistribution(0.7, 0.951, {"noise": 1.0, "drawings": 0.9}, 200, 0.99, 0.9)
    found = calibration.fit(*overconfident, rule)
    found.save(tmp_path / calibration.FILE)
    assert calibration.load(tmp_path / calibration.FILE) == found
    assert calibration.load(tmp_path / "missing.json") is None


@pytest.mark.parametrize("damage", ["{", "[]", "{}", '{"temperature": "hot"}', '{"temperature": 1e9}', "null"])
def test_a_damaged_file_is_said_in_a_sentence(tmp_path, damage):
    path = tmp_path / calibration.FILE
    path.write_text(damage)
    with pytest.raises(RunError, match=calibration.FILE):
        calibration.load(path)


def test_a_temperature_that_is_no_number_is_refused(tmp_path, overconfident):
    path = tmp_path / calibration.FILE
    calibration.fit(*overconfident).save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"temperature": float("nan")}))
    with pytest.raises(RunError, match=calibration.FILE):
        calibration.load(path)
