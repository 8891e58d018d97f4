import threading
import weakref

import numpy as np
import pytest
from ai_edge_litert import interpreter
from ai_edge_litert import schema_py_generated as schema

from cifar_core import machine
from cifar_core.network import architecture
from cifar_core.network.litert import BATCH_SIZE, LAST_LAYER, OUTPUTS, Network, build, build_after, build_photo

ALPHAS = (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)
SIZES = (32, 64, 96, 224)
HEAD_UNITS = 24


def random_weights(alpha):
    """Named weights of the whole network, batch norms with statistics that are nowhere near the initial."""
    rng = np.random.default_rng(7)
    weights = {}

    def add_norm(name, channels):
        weights[f"{name}/gamma"] = rng.uniform(0.7, 1.4, channels)
        weights[f"{name}/beta"] = rng.normal(0.2, 0.3, channels)
        weights[f"{name}/moving_mean"] = rng.normal(0, 0.3, channels)
        weights[f"{name}/moving_variance"] = rng.uniform(0.3, 2, channels)

    def add_convolution(name, norm, shape, inputs):
        weights[f"{name}/kernel"] = rng.normal(0, (2 / inputs) ** 0.5, shape)
        add_norm(norm, shape[2] if name.endswith("depthwise") else shape[3])

    table = architecture.blocks(alpha)
    add_convolution("Conv1", "bn_Conv1", (3, 3, 3, architecture.stem_channels(alpha)), 27)
    for block in table:
        narrow, wide, name = block.in_channels, block.expansion * block.in_channels, block.name
        if block.expansion > 1:
            add_convolution(f"{name}_expand", f"{name}_expand_BN", (1, 1, narrow, wide), narrow)
        add_convolution(f"{name}_depthwise", f"{name}_depthwise_BN", (3, 3, wide, 1), 9)
        add_convolution(f"{name}_project", f"{name}_project_BN", (1, 1, wide, block.out_channels), wide)
    top, features = table[-1].out_channels, architecture.top_channels(alpha)
    add_convolution("Conv_1", "Conv_1_bn", (1, 1, top, features), top)
    add_norm("head_norm", features)
    for name, inputs, units in (("head_dense", features, HEAD_UNITS), ("head_output", HEAD_UNITS, 10)):
        weights[f"{name}/kernel"] = rng.normal(0, inputs**-0.5, (inputs, units))
        weights[f"{name}/bias"] = rng.normal(0, 0.3, units)
    return {name: values.astype(np.float32) for name, values in weights.items()}


def random_images(count):
    return np.random.default_rng(1).integers(0, 256, (count, 32, 32, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def weights():
    return random_weights(0.35)


@pytest.fixture(scope="module")
def whole_model(weights):
    return build(weights, 0.35, 32, "minus_one_to_one", OUTPUTS, cut=12)


def keras_outputs(weights, alpha, image_size, scaling, images):
    """Outputs of the same network in Keras."""
    import keras
    from keras import layers

    keras.backend.clear_session()
    x = inputs = keras.Input((32, 32, 3))
    if image_size != 32:
        x = layers.Resizing(image_size, image_size, interpolation="bilinear")(x)
    factor, offset = {"minus_one_to_one": (1 / 127.5, -1), "zero_to_one": (1 / 255, 0)}[scaling]
    x = layers.Rescaling(factor, offset)(x)
    base = keras.applications.MobileNetV2(
        input_shape=(image_size, image_size, 3), alpha=alpha, include_top=False, weights=None
    )
    cut, top = keras.Model(base.input, [base.get_layer("block_12_add").output, base.output])(x)
    pooled = layers.GlobalAveragePooling2D()(top)
    x = layers.BatchNormalization(epsilon=1e-3, name="head_norm")(pooled)
    x = layers.Dense(HEAD_UNITS, activation="relu", name="head_dense")(layers.Dropout(0.5)(x))
    probabilities = layers.Dense(10, activation="softmax", name="head_output")(x)
    model = keras.Model(inputs, [cut, pooled, probabilities])
    for layer in (*base.layers, *model.layers[-4:]):
        for variable in layer.weights if layer.name not in ("dropout",) else ():
            variable.assign(weights[f"{layer.name}/{variable.name}"])
    outputs = model(images.astype(np.float32), training=False)
    return dict(zip(OUTPUTS, (output.numpy() for output in outputs), strict=True))


def assert_equals_keras(alpha, image_size, scaling):
    weights, images = random_weights(alpha), random_images(5)
    expected = keras_outputs(weights, alpha, image_size, scaling, images)
    actual = Network(build(weights, alpha, image_size, scaling, OUTPUTS, cut=12)).run(images)
    for name in ("cut", "pooled"):
        scale = np.abs(expected[name]).max()
        assert expected[name].std() > 0.01 * scale  # the random network has not collapsed
        np.testing.assert_allclose(actual[name], expected[name], rtol=0, atol=1e-3 * scale)
    np.testing.assert_allclose(actual["probabilities"], expected["probabilities"], rtol=0, atol=1e-4)
    assert expected["probabilities"].std(axis=0).max() > 1e-3  # and tells the images apart


def test_outputs_equal_keras():
    assert_equals_keras(0.5, 64, "minus_one_to_one")


@pytest.mark.slow
@pytest.mark.parametrize("alpha", ALPHAS)
def test_outputs_equal_keras_at_every_alpha(alpha):
    assert_equals_keras(alpha, 96, "minus_one_to_one")


@pytest.mark.slow
@pytest.mark.parametrize("image_size", SIZES)
def test_outputs_equal_keras_at_every_size(image_size):
    assert_equals_keras(0.35, image_size, "zero_to_one")


@pytest.mark.parametrize("alpha", ALPHAS)
def test_every_alpha_gives_outputs_of_the_tables_shapes(alpha):
    network = Network(build(random_weights(alpha), alpha, 96, "minus_one_to_one", OUTPUTS, cut=12))
    assert network.output_shapes == {
        "cut": architecture.cut_shape(alpha, 96, 4),
        "pooled": (architecture.top_channels(alpha),),
        "probabilities": (10,),
    }
    probabilities = network.run(random_images(2))["probabilities"]
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("image_size", SIZES)
def test_every_size_gives_outputs_of_the_tables_shapes(weights, image_size):
    network = Network(build(weights, 0.35, image_size, "zero_to_one", ("cut",), cut=5))
    assert network.output_shapes == {"cut": architecture.cut_shape(0.35, image_size, 11)}


def test_file_has_the_size_that_the_cost_table_promises(whole_model):
    surplus = len(whole_model) - architecture.cost(0.35, 32, HEAD_UNITS, 4).model_bytes
    assert 0 < surplus < 60_000


@pytest.mark.parametrize(("blocks", "features"), [(4, "cut"), (0, "pooled")])
def test_the_top_says_of_stored_features_what_the_whole_says_of_the_images(weights, whole_model, blocks, features):
    expected = Network(whole_model).run(random_images(21))
    top = Network(build_after(weights, 0.35, 32, blocks))
    np.testing.assert_array_equal(top.run(expected[features])["probabilities"], expected["probabilities"])
    with pytest.raises(ValueError, match=r"received uint8 .* expected float32"):
        top.run(random_images(1))


def test_a_photo_goes_through_the_same_layers_and_the_linear_head_is_on_the_highest_block(weights):
    images, pooled = random_images(21), Network(build(weights, 0.35, 32, "minus_one_to_one", ("pooled",)))
    network = Network(build_photo(weights, 0.35, 32, (3, LAST_LAYER)))
    assert network.output_shapes == {"block_3": (8,), "block_18": (1280,)}
    found = network.run(images)
    np.testing.assert_array_equal(found["block_18"], pooled.run(images)["pooled"])
    kernel, bias = np.random.default_rng(2).normal(size=(8, 3)), np.array([0.5, 0, -0.5])
    low = Network(build_photo(weights, 0.35, 96, (3,), (kernel, bias)))
    photos = np.random.default_rng(3).integers(0, 256, (5, 96, 96, 3)).astype(np.uint8)
    answers = low.run(photos)
    powers = np.exp(answers["block_3"] @ kernel + bias)
    np.testing.assert_allclose(answers["probabilities"], powers / powers.sum(axis=1, keepdims=True), atol=1e-5)
    with pytest.raises(ValueError, match=r"expected uint8 \('n', 96, 96, 3\)"):
        low.run(images)


def test_scalings_differ(weights):
    images = random_images(2)
    features = [
        Network(build(weights, 0.35, 32, scaling, ("pooled",))).run(images)["pooled"]
        for scaling in ("minus_one_to_one", "zero_to_one")
    ]
    assert np.abs(features[0] - features[1]).max() > 0.01


def test_only_needed_weights_are_read(weights):
    stem = {name: w for name, w in weights.items() if name.startswith(("Conv1", "bn_Conv1", "expanded_conv"))}
    assert Network(build(stem, 0.35, 96, "minus_one_to_one", ("cut",), cut=0)).output_shapes == {"cut": (48, 48, 8)}
    backbone = {name: w for name, w in weights.items() if not name.startswith("head")}
    assert set(Network(build(backbone, 0.35, 32, "minus_one_to_one", ("pooled",))).output_shapes) == {"pooled"}


def test_missing_weight_is_named(weights):
    backbone = {name: w for name, w in weights.items() if not name.startswith("head")}
    with pytest.raises(KeyError, match="head_norm/gamma"):
        build(backbone, 0.35, 32, "minus_one_to_one", ("probabilities",))


def test_file_describes_itself_and_aligns_its_weights(whole_model):
    model = schema.Model.GetRootAs(whole_model)
    assert b"alpha 0.35, 32 px, minus_one_to_one" in model.Description()
    start = np.frombuffer(whole_model, np.uint8).ctypes.data
    weights = [model.Buffers(i).DataAsNumpy() for i in range(1, model.BuffersLength())]
    assert {(w.ctypes.data - start) % 16 for w in weights} == {0}


@pytest.mark.parametrize("count", [0, 1, 2, BATCH_SIZE - 3, BATCH_SIZE, 2 * BATCH_SIZE + 5])
def test_any_number_of_images_gives_what_single_images_give(whole_model, count):
    network, images = Network(whole_model), random_images(count)
    together = network.run(images)
    assert {name: values.dtype for name, values in together.items()} == dict.fromkeys(OUTPUTS, np.float32)
    assert {len(values) for values in together.values()} == {count}
    for index in range(count):
        for name, values in network.run(images[index : index + 1]).items():
            np.testing.assert_allclose(together[name][index], values[0], rtol=1e-3, atol=1e-4)


def test_threads_share_a_network(whole_model):
    network = Network(whole_model)
    images = [np.full((20, 32, 32, 3), 60 * i, np.uint8) for i in range(4)]
    expected = [network.run(batch)["probabilities"] for batch in images]
    wrong = []

    def classify(index):
        for _ in range(10):
            if not np.allclose(network.run(images[index])["probabilities"], expected[index], atol=1e-5):
                wrong.append(index)

    workers = [threading.Thread(target=classify, args=(index,)) for index in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


@pytest.mark.parametrize(
    "images",
    [np.zeros((1, 32, 32, 3), np.float32), np.zeros((32, 32, 3), np.uint8), np.zeros((1, 28, 28, 1), np.uint8)],
)
def test_other_images_are_refused(whole_model, images):
    with pytest.raises(ValueError, match="expected uint8"):
        Network(whole_model).run(images)


@pytest.mark.parametrize("keep", [0, 3, 100, 0.5, 0.99])
def test_damaged_file_is_refused(whole_model, keep):
    with pytest.raises((ValueError, RuntimeError)):
        Network(whole_model[: int(keep * len(whole_model)) if isinstance(keep, float) else keep])


def test_file_that_is_no_model_is_refused():
    with pytest.raises((ValueError, RuntimeError)):
        Network(b"<html>not found</html>" * 100)


def test_on_64_processors_the_threads_asked_for_stay_few(monkeypatch: pytest.MonkeyPatch) -> None:
    living: weakref.WeakKeyDictionary[interpreter.Interpreter, int] = weakref.WeakKeyDictionary()

    class Counted(interpreter.Interpreter):
        def __init__(self, *, model_content: bytes, num_threads: int) -> None:
            super().__init__(model_content=model_content, num_threads=1)  # this machine need not have them
            living[self] = num_threads

    monkeypatch.setattr(machine, "processors", lambda: 64)
    monkeypatch.setattr(interpreter, "Interpreter", Counted)
    network, most = Network(build(random_weights(0.35), 0.35, 32, "minus_one_to_one", OUTPUTS, cut=12)), 0
    for count in (1, 2, 3, 5, 9, BATCH_SIZE, 300, 301, 1):
        network.run(random_images(count))
        most = max(most, sum(living.values()))
    assert most <= 2 * machine.MOST_THREADS  # one interpreter with all threads, and MOST_THREADS with one
    assert most >= machine.MOST_THREADS
