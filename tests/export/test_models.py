"""The model files: what they say, and what is recorded of them."""

import json
import shutil

import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema
from onnx import numpy_helper

from cifar_core import jobs, runs
from cifar_core.data import cifar10
from cifar_core.errors import RunError
from cifar_core.export import archive, exports
from cifar_core.network import litert, litert_format
from cifar_core.network.litert_format import quantized
from cifar_core.network.onnx_writer import converted

INT8 = schema.TensorType.INT8


@pytest.fixture
def images() -> np.ndarray:
    return cifar10.samples(50, "generated", test=True)[0]


@pytest.fixture
def content(finished_run) -> bytes:
    return (finished_run.path / "model.tflite").read_bytes()


def test_a_file_that_is_unpacked_and_packed_is_the_same(content) -> None:
    assert litert_format.pack(litert_format.unpack(content)) == content


def test_int8_rounds_each_large_kernel_to_half_a_step_at_most(content, images) -> None:
    before, after = litert_format.unpack(content), litert_format.unpack(quantized(content))
    small = {tensor.name: tensor for tensor in after.subgraphs[0].tensors if tensor.quantization is not None}
    rounded = [tensor for tensor in before.subgraphs[0].tensors if getattr(small.get(tensor.name), "type", 0) == INT8]
    assert len(rounded) > 10
    for tensor in rounded:
        found = small[tensor.name]
        values = np.frombuffer(before.buffers[tensor.buffer].data.tobytes(), np.float32).reshape(tensor.shape)
        whole = np.frombuffer(after.buffers[found.buffer].data.tobytes(), np.int8).reshape(tensor.shape)
        shape = [1] * values.ndim
        shape[found.quantization.quantizedDimension] = -1
        scale = np.asarray(found.quantization.scale, np.float32).reshape(shape)
        assert (np.abs(whole * scale - values) <= 0.501 * scale).all()


def test_int8_is_less_than_half_the_size_and_takes_and_gives_the_same(content, images) -> None:
    small = quantized(content)
    before, after = litert.Network(content).run(images), litert.Network(small).run(images)
    assert len(small) < 0.45 * len(content)
    assert (
        np.corrcoef(before["pooled"].ravel(), after["pooled"].ravel())[0, 1] > 0.8
    )  # of a network that learned nothing
    assert not np.array_equal(before["pooled"], after["pooled"])


@pytest.mark.parametrize("knobs", [{}, {"image_size": 96}, {"image_size": 64, "scaling": "zero_to_one"}], ids=str)
def test_onnx_equals_litert_for_any_number_of_images(make_run, finish_run, images, knobs) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")

    content = (finish_run(make_run(**knobs)).path / "model.tflite").read_bytes()
    session = onnxruntime.InferenceSession(converted(content), providers=["CPUExecutionProvider"])
    for count in (1, 3, 50):
        names = [output.name for output in session.get_outputs()]
        got = dict(zip(names, session.run(names, {"images": images[:count]}), strict=True))
        expected = litert.Network(content).run(images[:count])
        assert got.keys() == expected.keys()
        for name, values in expected.items():
            assert got[name].shape == values.shape
            assert np.abs(got[name] - values).max() < 1e-3 * max(np.abs(values).max(), 1)


def test_a_file_for_other_programs_has_the_probabilities_as_its_only_output(content, images) -> None:
    alone = litert.Network(litert_format.probabilities_only(content))
    assert list(alone.output_shapes) == ["probabilities"]
    assert np.array_equal(alone.run(images)["probabilities"], litert.Network(content).run(images)["probabilities"])
    outputs = onnx.load_from_string(converted(litert_format.probabilities_only(content))).graph.output
    assert [output.name for output in outputs] == ["probabilities"]


def test_int8_runs_in_the_reference_kernels_of_older_runtimes(content) -> None:
    """They refuse DEQUANTIZE above version 4 (up to TensorFlow 2.19)."""
    codes = litert_format.unpack(quantized(content)).operatorCodes
    (version,) = (code.version for code in codes if code.builtinCode == schema.BuiltinOperator.DEQUANTIZE)
    assert version <= 4


def test_onnx_is_of_the_kind_that_opencv_and_onnx_runtime_1_14_read(make_run, finish_run) -> None:
    content = (finish_run(make_run(image_size=96)).path / "model.tflite").read_bytes()
    model = onnx.load_from_string(converted(content))
    assert model.ir_version <= 8
    scales = {weights.name: list(numpy_helper.to_array(weights)) for weights in model.graph.initializer}
    (resize,) = (node for node in model.graph.node if node.op_type == "Resize")
    assert scales[resize.input[2]] == [1, 1, 3, 3]
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert len(convolutions) > 50
    assert all(any(item.name == "kernel_shape" for item in node.attribute) for node in convolutions)


@pytest.mark.parametrize("name", ["litert", "litert-int8", "onnx"])
def test_a_process_makes_a_model_file_and_records_how_it_does(finished_run, name) -> None:
    assert exports.state(finished_run, name) == {"state": "none"}
    exports.start(finished_run, name)
    assert jobs.wait_until(lambda: exports.state(finished_run, name)["state"] != "working", 60)
    found = exports.state(finished_run, name)
    assert found["state"] == "done", exports.job(finished_run, name).file(".log").read_text()
    assert found["images"] == exports.IMAGES
    assert found["agreement"] >= (0 if name == "litert-int8" else 0.99)
    assert found["poor"] == (found["agreement"] < {"litert-int8": 0.95}.get(name, 0.99))
    assert found["bytes"] == exports.path(finished_run, name).stat().st_size
    assert 0 < found["latency_ms"] < 1000
    assert found["against"] == "the run's own test predictions"


def test_a_file_that_says_something_else_is_poor(finished_run, monkeypatch) -> None:
    right = exports._opened
    monkeypatch.setattr(exports, "_opened", lambda file: lambda images: np.roll(right(file)(images), 1, axis=1))
    exports.make(finished_run, "litert")
    found = exports.state(finished_run, "litert")
    assert found["agreement"] == 0
    assert found["poor"]


def test_without_the_run_s_test_images_its_own_model_is_asked_again(finished_run) -> None:
    runs.write_json(
        finished_run.path / "environment.json",
        {
            "data": {"name": "cifar10", "label": "CIFAR-10", "fingerprint": "d"},
            "weights": {"label": "random numbers", "fingerprint": "w"},
        },
    )
    stored = dict(np.load(finished_run.path / "evaluation.npz"))
    stored["test_labels"] = (stored["test_labels"] + 1) % 10
    np.savez(finished_run.path / "evaluation.npz", **stored)
    exports.make(finished_run, "litert")
    found = exports.state(finished_run, "litert")
    assert found["agreement"] == 1
    assert "not here" in found["against"]


def test_a_damaged_model_is_a_failure_in_words(finished_run) -> None:
    (finished_run.path / "model.tflite").write_bytes(b"TFL3" * 100)
    exports.start(finished_run, "litert")
    assert jobs.wait_until(lambda: exports.state(finished_run, "litert")["state"] == "failed", 60)
    assert "model.tflite" in exports.state(finished_run, "litert")["error"]


@pytest.mark.parametrize(
    "record", ['{"state": "done"}', '{"state": "done", "bytes": "x", "agreement": null}', '{"state": 7}']
)
def test_a_record_without_its_values_reads_as_none(finished_run, record) -> None:
    folder = finished_run.path / "exports"
    folder.mkdir()
    (folder / "onnx.json").write_text(record)
    assert exports.state(finished_run, "onnx") == {"state": "none"}


@pytest.mark.parametrize("record", ["", "{"])
def test_a_damaged_record_reads_as_failed_with_the_reason(finished_run, record) -> None:
    folder = finished_run.path / "exports"
    folder.mkdir()
    (folder / "onnx.json").write_text(record)
    found = exports.state(finished_run, "onnx")
    assert found["state"] == "failed" and "onnx.json" in found["error"]


def test_a_process_that_was_killed_is_not_working(finished_run) -> None:
    folder = finished_run.path / "exports"
    folder.mkdir()
    (folder / "onnx.json").write_text(json.dumps({"state": "working", "done": 3, "total": 200}))
    assert exports.state(finished_run, "onnx")["state"] == "failed"


def test_only_a_finished_run_is_exported(run) -> None:
    runs.write_json(run.path / "status.json", {"state": "stopped"})
    with pytest.raises(RunError, match=f"{run.id} is stopped.*finished"):
        exports.start(run, "onnx")


@pytest.mark.slow
@pytest.mark.usefixtures("small_data")
def test_a_real_run_s_keras_file_says_what_the_run_says_and_all_of_it_can_move(undisturbed_run) -> None:
    run = runs.Run(undisturbed_run.name)
    shutil.copytree(undisturbed_run, run.path)
    for name in ("keras", "litert"):
        exports.start(run, name)
        assert jobs.wait_until(lambda name=name: exports.state(run, name)["state"] != "working", 120)
        assert exports.state(run, name)["agreement"] >= 0.99, exports.job(run, name).file(".log").read_text()
    packed = archive.pack(run)
    shutil.rmtree(run.path)
    assert archive.import_run(packed) == run
    assert run.state == "finished"
