"""What Train shows of exports: none yet, being made, done, poor, failed; and of imports."""

import json
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from streamlit.testing.v1 import AppTest

from cifar_core import runs
from cifar_core.data import download, synthetic
from cifar_core.export import archive, exports
from cifar_core.inference import pins
from cifar_core.runs import labels

APP = Path(__file__).resolve().parents[2] / "app.py"


@pytest.fixture(autouse=True)
def small_set(monkeypatch) -> None:
    monkeypatch.setattr(synthetic, "TRAIN_IMAGES", 100)
    monkeypatch.setattr(synthetic, "TEST_IMAGES", 50)
    monkeypatch.setattr(download, "answers", lambda url: False)


def opened(run: runs.Run | None = None) -> AppTest:
    app = AppTest.from_file(str(APP), default_timeout=60)
    if run:
        app.query_params["run"] = run.id
    for panel in ("export_panel", "import_panel"):
        app.session_state[panel] = True  # opened by a click
    app.run()
    assert not app.exception
    return app


def record(run: runs.Run, name: str, **found: object) -> None:
    folder = run.path / "exports"
    folder.mkdir(exist_ok=True)
    done = {
        "state": "done",
        "bytes": 1_200_000,
        "agreement": 1.0,
        "images": 200,
        "latency_ms": 2.5,
        "against": "the run",
    }
    (folder / f"{name}.json").write_text(json.dumps(done | found))


def texts(app: AppTest) -> str:
    return " ".join(element.value for element in [*app.markdown, *app.error, *app.caption, *app.success])


def test_every_model_can_be_made_and_the_rest_downloaded(finished_run) -> None:
    app = opened(finished_run)
    keys = {button.key for button in app.button}
    assert {"make_keras", "make_litert", "make_litert-int8", "make_onnx"} <= keys
    is_disabled = {button.key: button.proto.disabled for button in app.get("download_button")}
    assert is_disabled.keys() >= {f"download_{name}" for name in exports.FORMATS.keys() - exports.MODELS.keys()}
    assert is_disabled["download_zip"], "it has no best.keras"
    assert not is_disabled["download_notebook"]


def test_what_is_made_shows_agreement_size_and_time_and_poor_ones_are_red(finished_run) -> None:
    record(finished_run, "litert", agreement=0.995)
    record(finished_run, "onnx", state="failed", error="It *broke*.")
    for name in ("model.tflite", "model-int8.tflite"):
        (finished_run.path / "exports" / name).write_bytes(b"x")
    record(finished_run, "litert-int8", agreement=0.93)
    app = opened(finished_run)
    shown = texts(app)
    assert ":green[**99.5%**]" in shown
    assert ":red[**93.0%**]" in shown
    assert f" {exports.MODELS['litert-int8'].least_agreement:.0%}" in shown
    assert "1.2 MB" in shown
    assert "2.5 ms" in shown
    assert "onnxruntime.InferenceSession" not in " ".join(item.value for item in app.code)  # it failed
    assert all(
        f"{labels.file_stem(finished_run)}{suffix}" in " ".join(item.value for item in app.code)
        for suffix in (".tflite", "-int8.tflite")
    )
    assert exports.MODELS["litert"].tried in shown
    assert r"It \*broke\*\." in shown


def test_one_that_is_being_made_shows_how_far_it_is(finished_run) -> None:
    record(finished_run, "onnx", state="working", done=50, total=200)
    with FileLock(exports.job(finished_run, "onnx").file(".lock")):
        app = opened(finished_run)
        assert next(button for button in app.button if button.key == "make_onnx").disabled


def test_an_unfinished_run_offers_nothing(run) -> None:
    runs.write_json(run.path / "status.json", {"state": "stopped"})
    assert not [button for button in opened(run).button if str(button.key).startswith("make_")]


def upload(app: AppTest, content: bytes) -> AppTest:
    next(item for item in app.file_uploader if item.key == "run_archive_0").set_value(
        ("run.zip", content, "application/zip")
    )
    app.run()
    assert not app.exception
    return app


def test_an_uploaded_archive_becomes_the_run_on_the_screen(finished_run) -> None:
    (finished_run.path / "best.keras").write_bytes(b"played by nobody")
    content = archive.pack(finished_run)
    runs.delete(finished_run)
    app = upload(opened(), content)
    assert ":material/upload:" in texts(app)
    assert app.query_params["run"] == finished_run.id


def test_a_bad_upload_is_a_sentence_even_without_any_run() -> None:
    assert upload(opened(), b"not a zip").error


def test_a_picture_and_an_animation_are_one_click_away(finished_run) -> None:
    def shared() -> set[str]:
        return {found.key for found in opened(finished_run).get("download_button") if found.key.startswith("share_")}

    assert shared() == {"share_card"}
    pin = pins.Pin(np.full((32, 32, 3), 200, np.uint8), "cat")
    pins.save(finished_run, [pin])
    row = {"phase": "head", "epoch": 1, "pins": {pin.key: [0.1] * 10}}
    (finished_run.path / pins.PROBES).write_text(json.dumps(row) + "\n")
    assert shared() == {"share_card", "share_animation"}
