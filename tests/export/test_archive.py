"""An archive goes out and comes in; a hostile one is refused in a sentence, and leaves nothing behind."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cifar_core import jobs, runs
from cifar_core.data import cifar10
from cifar_core.errors import RunError
from cifar_core.evaluation import data_map, predictions
from cifar_core.export import archive
from cifar_core.inference import calibration, classifier, neighbors
from cifar_core.inference.calibration import OutOfDistribution
from cifar_core.runs import Run, curves, trash


@pytest.fixture
def packed(finished_run: Run) -> bytes:
    (finished_run.path / "best.keras").write_bytes(b"weights, which no import opens")
    return archive.pack(finished_run)


def changed(packed: bytes, **files: bytes | None) -> bytes:
    """The archive with other files in it, by name with "_" for "."; None leaves a file out."""
    result = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(packed)) as old, zipfile.ZipFile(result, "w", zipfile.ZIP_DEFLATED) as new:
        contents = {name: old.read(name) for name in old.namelist()}
        contents |= {name.replace("__", "."): content for name, content in files.items()}
        for name, content in contents.items():
            if content is not None:
                new.writestr(name, content)
    return result.getvalue()


def with_status(packed: bytes, **result: object) -> bytes:
    with zipfile.ZipFile(io.BytesIO(packed)) as file:
        status = json.loads(file.read("status.json"))
    status["result"] |= result
    return changed(packed, status__json=json.dumps(status).encode())


def entries() -> set[str]:
    return {path.name for path in runs.runs_dir().iterdir()}


def test_a_run_comes_back_as_it_was_and_says_that_it_was_imported(finished_run, packed) -> None:
    images, _ = cifar10.samples(20, "generated", test=True)
    before = (
        finished_run.config,
        finished_run.result,
        finished_run.metrics(),
        predictions.load(finished_run).test.accuracy,
    )
    said = classifier.open_classifier(finished_run.id).probabilities(images)
    shutil.rmtree(finished_run.path)
    run = archive.import_run(packed)
    assert run == finished_run
    assert (run.config, run.result, run.metrics(), predictions.load(run).test.accuracy) == before
    assert np.array_equal(classifier.open_classifier(run.id).probabilities(images), said)
    assert run.state == "finished"
    assert run.status["imported"]["id"] == run.id


def test_the_linear_probe_travels_and_the_answers_of_each_epoch_stay(finished_run, packed) -> None:
    assert "linear_probe_accuracy" not in finished_run.result  # an older run, which the test above imports
    probe = {"kind": "linear_probe", "weights": "random", "validation_accuracy": 0.25, "elapsed_seconds": 2.0}
    with (finished_run.path / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(probe) + "\n")
    (finished_run.path / data_map.EPOCHS_FILE).write_bytes(b"\0" * 100)
    packed = with_status(archive.pack(finished_run), linear_probe_accuracy=0.25)
    shutil.rmtree(finished_run.path)
    run = archive.import_run(packed)
    assert run.result["linear_probe_accuracy"] == 0.25
    assert curves.linear_probe(run.metrics()).accuracy == 0.25
    assert not (run.path / data_map.EPOCHS_FILE).exists()
    with pytest.raises(RunError, match="its figures are not those of a run"):
        archive.import_run(with_status(packed, linear_probe_accuracy=2.0))
    assert runs.list_runs() == [run]
    assert not (run.path / "figures.html").exists()


def test_weight_changes_and_a_loss_that_is_no_number_travel(finished_run, packed) -> None:
    step = {"kind": "step", "phase": "head", "epoch": 1, "step": 1, "steps": 2, "accuracy": 0.1, "loss": float("inf")}
    step |= {"learning_rate": 1.0, "images_per_second": 9.0}
    epoch = {"kind": "epoch", "phase": "head", "epoch": 1, "validation_accuracy": 0.1, "validation_loss": 2.0}
    rows = [step, epoch | {"weight_changes": [0.125] * 17}]
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    run = archive.import_run(changed(packed, metrics__jsonl=content))
    assert run.metrics() == rows
    with pytest.raises(RunError, match="too many rows"):
        archive.import_run(changed(packed, metrics__jsonl=b"1\n" * 10**6))


def test_an_imported_run_says_what_the_run_says(finished_run, packed) -> None:
    """Its calibrated probabilities, what it calls unusual, and the nearest training images."""
    validation = predictions.load(finished_run).validation
    rule = OutOfDistribution(0.5, 0.9, {"noise": 1.0}, 10, 0.99, 0.6)
    made = calibration.fit(validation.probabilities, validation.labels, rule)
    made.save(finished_run.path / calibration.FILE)
    shutil.copy(Path(neighbors.__file__).parents[1] / "bundled" / neighbors.FILE, finished_run.path)
    packed = archive.pack(finished_run)
    again = archive.import_run(packed)
    assert calibration.load(again.path / calibration.FILE) == made
    assert (again.path / neighbors.FILE).read_bytes() == (finished_run.path / neighbors.FILE).read_bytes()
    saved = json.loads((again.path / calibration.FILE).read_text())
    bent = archive.import_run(changed(packed, calibration__json=json.dumps(saved | {"temperature": 9.0}).encode()))
    assert calibration.load(bent.path / calibration.FILE) == made
    for name in (calibration.FILE, neighbors.FILE):
        with pytest.raises(RunError, match=f"its {name} is damaged"):
            archive.import_run(changed(packed, **{name.replace(".", "__"): b"{"}))


def test_a_run_of_an_older_archive_is_calibrated(finished_run, packed) -> None:
    validation = predictions.load(finished_run).validation
    (finished_run.path / calibration.FILE).unlink(missing_ok=True)
    run = archive.import_run(archive.pack(finished_run))
    found = calibration.load(run.path / calibration.FILE)
    assert found.temperature == calibration.best_temperature(validation.probabilities, validation.labels)
    assert found.out_of_distribution is None


def test_a_taken_id_gives_way_to_a_new_one(finished_run, packed) -> None:
    run = archive.import_run(packed)
    assert run != finished_run
    assert runs.ID_PATTERN.fullmatch(run.id)
    assert run.status["imported"]["id"] == finished_run.id
    assert len(runs.finished_runs()) == 2


def test_the_archive_has_figures_that_need_no_network(packed) -> None:
    page = zipfile.ZipFile(io.BytesIO(packed)).read("figures.html").decode()
    assert page.count("Plotly.newPlot") >= 4
    assert 'src="http' not in page


MARK = "import pathlib; pathlib.Path('owned').touch()"
BREAKERS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "no zip": (lambda packed: b"hello", "not a valid ZIP file"),
    "cut off": (lambda packed: packed[: len(packed) // 2], "not a valid ZIP file"),
    "flipped": (lambda packed: packed[:2000] + bytes([packed[2000] ^ 255]) + packed[2001:], "archive"),
    "traversal": (lambda packed: changed(packed, **{"../../owned": b"x"}), "contains"),
    "absolute": (lambda packed: changed(packed, **{"/tmp/owned": b"x"}), "contains"),
    "a file more": (lambda packed: changed(packed, checkpoint__npz=b"x"), "checkpoint"),
    "a file less": (lambda packed: changed(packed, model__tflite=None), "no model.tflite"),
    "no manifest": (lambda packed: changed(packed, run__json=b"[]"), "run.json"),
    "an id that climbs": (
        lambda packed: changed(packed, run__json=b'{"kind": "cifar-studio-run", "schema": 1, "id": "../../owned"}'),
        "has no id",
    ),
    "an unknown knob": (lambda packed: changed(packed, config__json=b'{"schema": 1, "x": 1}'), "settings"),
    "deep JSON": (lambda packed: changed(packed, status__json=b"[" * 100_000), "status.json"),
    "a bomb": (lambda packed: changed(packed, summary__txt=b"\0" * (5 * 2**20)), "unpacks to more"),
    "not finished": (lambda packed: changed(packed, status__json=b'{"state": "running"}'), "not finished"),
    "a better accuracy": (lambda packed: with_status(packed, test_accuracy=0.99), "predictions"),
    "an accuracy of NaN": (lambda packed: with_status(packed, test_accuracy=float("nan")), "figures"),
    "words for numbers": (lambda packed: with_status(packed, best_epoch="<script>"), "figures"),
    "a list for a word": (lambda packed: with_status(packed, best_phase=[]), "figures"),
    "a pickle": (lambda packed: changed(packed, evaluation__npz=pickled()), "damaged"),
    "no network": (lambda packed: changed(packed, model__tflite=b"TFL3" * 100), "not a network of its configuration"),
    "damaged metrics": (lambda packed: changed(packed, metrics__jsonl=b"{}\n{"), "metrics"),
}


def pickled() -> bytes:
    """An .npz whose array is a pickle that would leave a mark."""

    class Payload:
        def __reduce__(self) -> tuple:
            return exec, (MARK,)

    file = io.BytesIO()
    np.savez(file, test_labels=np.array([Payload()], dtype=object), allow_pickle=True)
    return file.getvalue()


@pytest.mark.parametrize("name", BREAKERS)
def test_what_is_not_an_archive_of_ours_is_refused_in_a_sentence(packed, name, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = entries()
    break_it, reason = BREAKERS[name]
    with pytest.raises(RunError, match=reason):
        archive.import_run(break_it(packed))
    assert entries() == before
    assert not list(tmp_path.rglob("owned"))


def test_the_network_of_another_configuration_is_refused(packed, make_run) -> None:
    other = json.dumps(make_run(dense_units=32).config.to_dict()).encode()
    with pytest.raises(RunError, match="not a network of its configuration"):
        archive.import_run(changed(packed, config__json=other))


def test_words_of_a_stranger_are_short_and_visible(packed) -> None:
    nasty = {"python": "3\u202e11\n" + "x" * 5_000, "deep": {"a": {"b": {"c": {"d": 1}}}}, "n": 1e308 * 10}
    run = archive.import_run(changed(packed, environment__json=json.dumps(nasty).encode()))
    found = runs.read_json(run.path / "environment.json")
    assert len(found["python"]) <= 500
    assert "\u202e" not in found["python"]
    assert found["n"] is None


def test_rows_that_no_training_writes_are_left_out(packed, finished_run) -> None:
    numbers = ("epoch", "step", "steps", "loss", "accuracy", "learning_rate", "images_per_second")
    odd = [{"kind": "step", "phase": "head"}, {"kind": "step", "phase": "head", **dict.fromkeys(numbers, 0)}]
    rows = [*finished_run.metrics(), *odd]
    run = archive.import_run(changed(packed, metrics__jsonl="".join(json.dumps(row) + "\n" for row in rows).encode()))
    assert run.metrics() == finished_run.metrics()


KILLED = """
import os, signal, sys
from pathlib import Path
from cifar_core.export import archive

archive._check_figures = lambda run: os.kill(os.getpid(), signal.SIGKILL)
archive.import_run(Path(sys.argv[1]).read_bytes())
"""


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX's")
def test_an_import_that_is_killed_leaves_no_run_and_its_folder_goes_once_it_is_old(
    packed, finished_run, tiny_config, tmp_path, monkeypatch
) -> None:
    (tmp_path / "run.zip").write_bytes(packed)
    root = str(Path(jobs.__file__).resolve().parents[1])
    killed = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "run.zip"], env=os.environ | {"PYTHONPATH": root})
    assert killed.returncode == -signal.SIGKILL
    (left,) = runs.runs_dir().glob(f"{trash.IMPORTING}*")
    assert (left / "model.tflite").exists()
    assert runs.list_runs() == [finished_run]
    archive.import_run(packed)
    assert left.exists()  # it might be an import of this moment
    monkeypatch.setattr(trash, "UNFINISHED_SECONDS", -1)
    archive.import_run(packed)
    assert entries() == {run.id for run in runs.list_runs()}


def test_leftovers_of_imports_and_deletions_go_and_nothing_else(finished_run, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(trash, "UNFINISHED_SECONDS", -1)
    (tmp_path / "mine").mkdir()
    (runs.runs_dir() / ".import-link").symlink_to(tmp_path / "mine", target_is_directory=True)
    (runs.runs_dir() / ".import-notes.txt").write_text("a person's")
    for name in (".import-x1", f".deleted-{finished_run.id}", ".trash", "sweeps"):
        (runs.runs_dir() / name).mkdir()
        (runs.runs_dir() / name / "file").touch()
    trash.clear_unfinished()
    assert entries() == {".import-link", ".import-notes.txt", ".trash", "sweeps", finished_run.id}
    assert (tmp_path / "mine").is_dir()


def test_a_runs_directory_that_is_not_there_has_no_leftovers() -> None:
    trash.clear_unfinished()
    assert not runs.runs_dir().exists()
