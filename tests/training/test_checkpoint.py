import json
import random
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from cifar_core.errors import RunError
from cifar_core.training import run_writer
from cifar_core.training.run_writer import Checkpoint, Progress

CHANGES = 600


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """A small checkpoint."""
    path = tmp_path / "checkpoint.npz"
    arrays = {f"model/{i}": np.full((2, 3), i, np.float32) for i in range(3)}
    arrays |= {"optimizer/0": np.arange(4, dtype=np.int64), "best/head/kernel": np.eye(2, dtype=np.float32)}
    state = json.dumps(asdict(Progress("head", 2, rows=[{"kind": "epoch"}]))).encode()
    np.savez(path, **arrays, state=np.frombuffer(state, np.uint8))
    return path


def content(found: Checkpoint | None) -> tuple[object, ...]:
    assert found is not None
    best = {name: value.tolist() for name, value in found.best.items()}
    return found.progress, [a.tolist() for a in found.model], [a.tolist() for a in found.optimizer], best


def test_a_changed_byte_or_a_missing_end_is_noticed_or_changes_nothing(whole: Path) -> None:
    good, expected, chance = whole.read_bytes(), content(run_writer.load_checkpoint(whole)), random.Random(5)
    noticed = 0
    for number in range(CHANGES):
        place = chance.randrange(len(good))
        changed = good[:place] + bytes([good[place] ^ 1 << chance.randrange(8)]) + good[place + 1 :]
        whole.write_bytes(changed if number % 3 else good[:place])
        try:
            assert content(run_writer.load_checkpoint(whole)) == expected
        except RunError as error:
            assert "is damaged" in str(error)
            noticed += 1
    assert noticed > CHANGES / 2


def test_no_checkpoint_is_none(tmp_path: Path) -> None:
    assert run_writer.load_checkpoint(tmp_path / "checkpoint.npz") is None


def test_the_checkpoint_of_another_network_is_a_sentence(whole: Path) -> None:
    class Variable:
        shape = (7,)

    found = run_writer.load_checkpoint(whole)
    assert found is not None
    with pytest.raises(RunError, match="3 arrays of another network, expected the 1"):
        run_writer.restore([Variable()], found.model)
