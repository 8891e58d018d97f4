"""Sound files of every kind, mutated: what comes out is valid, or a sentence."""

import contextlib
import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from corpus import zipped
from hypothesis import given
from hypothesis import strategies as st
from mutation import CHANGES, LINE, ODDITIES, changed, examples, mutated, odd, odd_json, odd_line
from readers import read

from cifar_core import runs
from cifar_core.config import KNOBS, TrainConfig
from cifar_core.errors import CifarError, ConfigError, RunError, SweepError
from cifar_core.evaluation import predictions
from cifar_core.export import archive
from cifar_core.inference import model_file
from cifar_core.network import litert, litert_format
from cifar_core.search import findings, studies
from cifar_core.search.space import Goal, Plan, parse_range

CONFIGURATION = json.dumps(TrainConfig().to_dict()).encode()


@examples(60)
@given(odd_json(CONFIGURATION), mutated(CONFIGURATION))
def test_an_odd_configuration_is_one_or_a_sentence(odd_file: bytes, broken_file: bytes) -> None:
    for content in (odd_file, broken_file):
        with contextlib.suppress(ConfigError, json.JSONDecodeError, UnicodeError):
            found = TrainConfig.from_dict(json.loads(content))
            assert TrainConfig.from_dict(found.to_dict()) == found
            for name, knob in KNOBS.items():
                assert knob.check(getattr(found, name)) == getattr(found, name)


@pytest.fixture
def packed(stranger) -> bytes:
    """The run as an archive, with the figures of its predictions."""
    run = stranger()
    said = predictions.load(run)
    result = run.result | {"litert_max_difference": 0.0}
    result |= {f"{name}_loss": said.split(name).loss for name in ("validation", "test")}
    runs.write_json(run.path / "status.json", run.status | {"result": result})
    config = json.dumps({"module": "keras.layers", "class_name": "Dense", "config": {}}).encode()
    members = [("metadata.json", b"{}"), ("model.weights.h5", b"{}"), ("config.json", config)]
    (run.path / "best.keras").write_bytes(zipped(members))
    return archive.pack(run)


def test_a_mutated_archive_is_imported_or_refused(packed: bytes) -> None:
    @examples(30)
    @given(CHANGES)
    def check(changes: list) -> None:
        before = {run.id for run in runs.list_runs()}
        try:
            run = archive.import_run(changed(packed, changes))
        except RunError:
            assert {run.id for run in runs.list_runs()} == before
            assert not list(runs.runs_dir().glob(".import-*"))
        else:
            assert 0 <= run.result["test_accuracy"] <= 1

    check()


def test_the_archive_that_is_mutated_is_sound(packed: bytes) -> None:
    """So that the tests below reach what comes after the first refusal."""
    assert archive.import_run(packed).state == "finished"


def test_an_archive_with_a_mutated_member_is_imported_or_refused(packed: bytes) -> None:
    """The zip itself is sound, so that what is mutated gets past its checksums."""
    with zipfile.ZipFile(io.BytesIO(packed)) as file:
        members = {name: file.read(name) for name in sorted(file.namelist())}
    names = [name for name in members if name != archive.FIGURES]

    @examples(15)
    @given(st.sampled_from(names), st.booleans(), LINE, ODDITIES, CHANGES)
    def check(name: str, by_value: bool, line: int, oddities: list, changes: list) -> None:
        content = members[name]
        if by_value and name.endswith(".json"):
            content = odd(content, oddities)
        elif by_value and name.endswith(".jsonl"):
            content = odd_line(content, line, oddities)
        else:
            content = changed(content, changes)
        before = {run.id for run in runs.list_runs()}
        try:
            run = archive.import_run(zipped((members | {name: content}).items()))
        except RunError:
            assert {run.id for run in runs.list_runs()} == before
        else:
            read(run)
            assert 0 <= run.result["test_accuracy"] <= 1
            runs.delete(run)
        assert not list(runs.runs_dir().glob(".*"))

    check()


# ---- sweeps


@pytest.fixture
def journal() -> bytes:
    """The journal of a sweep of three trials."""
    plan = Plan(TrainConfig(fine_tune_epochs=0), (parse_range("dropout=0:0.5"), parse_range("alpha=0.35,0.5")))
    studies.create("mine", plan, Goal(3))
    study = studies.open_study("mine", seed=1)

    def objective(trial) -> float:
        plan.config(trial)
        trial.report(0.5, 1)
        for name, value in {"run": "20260101-000000000-stranger", "accuracy": 0.5, "seconds": 3.0}.items():
            trial.set_user_attr(name, value)
        trial.set_user_attr("model_bytes", 1_000)
        trial.set_user_attr("latency_ms", 1.0)
        return 0.5

    study.optimize(objective, n_trials=3)
    return (studies.folder("mine") / "journal.log").read_bytes()


def look_at_sweep() -> None:
    with contextlib.suppress(SweepError):
        found = findings.find("mine")
        json.dumps(found.to_dict(), allow_nan=False)
        assert found.spent_seconds >= 0
        for trial in found.trials:
            assert trial.accuracy is None or 0 <= trial.accuracy <= 1
    studies.names()


def test_an_odd_journal_of_a_sweep_is_read_or_refused(journal: bytes) -> None:
    path = studies.folder("mine") / "journal.log"

    @examples(40)
    @given(st.booleans(), LINE, ODDITIES, CHANGES)
    def check(by_value: bool, line: int, oddities: list, changes: list) -> None:
        path.write_bytes(odd_line(journal, line, oddities) if by_value else changed(journal, changes))
        look_at_sweep()

    check()


def test_a_journal_runs_no_pickle(journal: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from optuna.storages.journal import JournalFileBackend

    assert not hasattr(JournalFileBackend, "load_snapshot")  # the only part of it that unpickles
    monkeypatch.chdir(tmp_path)
    payload = b"cos\nsystem\n(S'touch owned'\ntR."
    for content in (payload, payload + b"\n" + journal, journal + payload + b"\n"):
        (studies.folder("mine") / "journal.log").write_bytes(content)
        look_at_sweep()
    assert not list(tmp_path.rglob("owned"))


# ---- models


def broken(content: bytes, kind: str) -> bytes:
    """A LiteRT file that any reader of its format takes for sound."""
    model = litert_format.unpack(content)
    graph = model.subgraphs[0]
    if kind == "operators read each other":
        graph.operators[5].inputs = list(graph.operators[5].inputs)
        graph.operators[5].inputs[0] = len(graph.tensors) - 1
    elif kind == "weights are missing":
        for buffer in model.buffers[3:]:
            if buffer.data is not None and len(buffer.data) > 64:
                buffer.data = buffer.data[:4].copy()
    elif kind == "another operator":
        model.operatorCodes[0].builtinCode = model.operatorCodes[0].deprecatedBuiltinCode = 49
    elif kind == "a shape beyond memory":
        graph.tensors[2].shape = np.array([1, 1 << 20, 1 << 20, 3], np.int32)
    return litert_format.pack(model)


MODELS = ("operators read each other", "weights are missing", "another operator", "a shape beyond memory")


@pytest.mark.parametrize("kind", MODELS)
def test_a_model_that_would_crash_the_server_is_refused(stranger, files, kind: str) -> None:
    """Found by mutation: LiteRT's own check lets such files through, and some end the process."""
    run = stranger({"model.tflite": broken(files["model.tflite"], kind)})
    assert not model_file.is_own((run.path / "model.tflite").read_bytes(), run.config)
    with pytest.raises(CifarError, match="not a usable LiteRT model"):
        model_file.read(run)


CRASH = """
import sys
from pathlib import Path
import numpy as np
from cifar_core.network import litert
litert.Network(Path(sys.argv[1]).read_bytes()).run(np.zeros((3, 32, 32, 3), np.uint8))
"""


def test_some_of_those_models_do_crash_a_process(files, tmp_path: Path) -> None:
    """So that the test above can fail."""
    codes = []
    for number, kind in enumerate(MODELS):
        path = tmp_path / f"{number}.tflite"
        path.write_bytes(broken(files["model.tflite"], kind))
        codes.append(
            subprocess.run([sys.executable, "-c", CRASH, str(path)], capture_output=True, timeout=100).returncode
        )
    assert any(code < 0 for code in codes)


def test_a_mutated_model_is_ours_only_if_its_weights_alone_differ(files) -> None:
    content = files["model.tflite"]
    config = TrainConfig.from_dict(json.loads(files["config.json"]))

    @examples(40)
    @given(st.integers(1, 30_000), st.integers(0, 7))
    def check(from_end: int, bit: int) -> None:
        flipped = bytearray(content)
        flipped[-from_end] ^= 1 << bit  # there lies everything but the weights
        if model_file.is_own(bytes(flipped), config):
            said = litert.Network(bytes(flipped)).run(np.zeros((3, 32, 32, 3), np.uint8))["probabilities"]
            assert said.shape == (3, 10)

    check()
    with_other_weights = content[:100_000] + bytes(64) + content[100_064:]
    assert model_file.is_own(with_other_weights, config)


def test_a_model_that_this_version_does_not_write_is_refused(stranger, files) -> None:
    model = litert_format.unpack(files["model.tflite"])
    model.description = b"written by another program"
    run = stranger({"model.tflite": litert_format.pack(model)})
    with pytest.raises(CifarError, match="not a usable LiteRT model"):
        model_file.read(run)


def test_found_by_mutation_a_whole_number_beyond_all_floats() -> None:
    """10**400 as a knob's number raised OverflowError."""
    with pytest.raises(ConfigError, match="expected a number"):
        TrainConfig.from_dict({**TrainConfig().to_dict(), "dropout": 10**400})
