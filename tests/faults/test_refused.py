"""The system refuses to replace a file seven times, as Windows does while another program has it open."""

import os
from collections import Counter
from pathlib import Path

import pytest
from run_outcome import assert_complete, outcome

from cifar_core import machine, runs
from cifar_core.config import TrainConfig
from cifar_core.training import worker

KERAS_AND_NUMPY = "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"


@pytest.mark.slow
@pytest.mark.usefixtures("own_signals")
@pytest.mark.filterwarnings(KERAS_AND_NUMPY)
def test_a_training_whose_files_are_refused_ends_as_an_undisturbed_one(
    short_config: TrainConfig, small_data: Path
) -> None:
    real, refusals = os.replace, Counter[str]()

    def refused(source: Path, target: Path) -> None:
        refusals[os.fspath(target)] += 1
        if refusals[os.fspath(target)] % 8:
            raise PermissionError(13, "Permission denied")
        real(source, target)

    run, twin = runs.create(short_config), runs.create(short_config)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", refused)
        patch.setattr(machine, "_REPLACE_SECONDS", [0.0] * len(machine._REPLACE_SECONDS))
        assert worker.main(str(run.path)) == 0
    assert worker.main(str(twin.path)) == 0  # in this process, too, where TensorFlow may have other threads
    assert_complete(run)
    assert outcome(run).differences(outcome(twin)) == []
    assert {"status.json", "checkpoint.npz", "metrics.jsonl"} <= {Path(name).name for name in refusals}
    assert not list(run.path.glob(".*"))
