"""MobileNetV2 for LiteRT: writes a .tflite file directly from named weights, and runs one.

TensorFlow's converter needs TensorFlow and takes 10 to 20 s; writing the flatbuffer takes about 30 ms. Batch norms
are folded into the convolutions before them, head_norm into head_dense after it, each ReLU6 is fused into its
convolution, and the file includes resizing and scaling.

    model = build(weights, alpha=0.5, image_size=96, scaling="minus_one_to_one", outputs=("probabilities",))
    Network(model).run(images)["probabilities"]        # uint8 (n, 32, 32, 3) -> float32 (n, 10)
"""

import threading
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from cifar_core import machine
from cifar_core.network import architecture
from cifar_core.network.litert_format import INPUT, SIGNATURE, Graph
from cifar_core.network.pretrained import Named

OUTPUTS = ("cut", "pooled", "probabilities")
IMAGE_SHAPE = (32, 32, 3)
_PIXELS, _FEATURES = np.dtype(np.uint8), np.dtype(np.float32)
BATCH_SIZE = 16  # about the fastest from 32 to 224 px: the feature maps of a batch stay in the CPU cache

# uint8 pixel -> factor * pixel + offset
SCALINGS = {"minus_one_to_one": (1 / 127.5, -1.0), "zero_to_one": (1 / 255, 0.0)}

_BATCH_NORM_EPSILON = 1e-3  # of keras.applications and of head_norm
_ACTIVATION = schema.ActivationFunctionType
_SAME = schema.Padding.SAME  # at stride 2 equal to Keras's correct_pad and "valid", for each size
_OPERATOR = schema.BuiltinOperator

LAST_LAYER = architecture.BLOCK_COUNT + 1
"""Number of Conv_1, the layer after the 17 blocks."""

Head = tuple[np.ndarray, np.ndarray]


def build(
    weights: Named,
    alpha: float,
    image_size: int,
    scaling: str,
    outputs: Collection[str],
    cut: int | None = None,
) -> bytes:
    """Return a LiteRT file that maps uint8 RGB images (n, 32, 32, 3) to float32 `outputs`, for any n.

    `weights` are named weights ("block_1_expand/kernel"). `outputs` are some of "cut" (the output of block `cut`,
    (n, h, w, c)), "pooled" ((n, 1280), more for alpha above 1) and "probabilities" ((n, 10)); unneeded layers and
    weights are left out. `image_size` is in pixels, `scaling` is a key of SCALINGS. Raises KeyError if a weight or
    `cut` is missing.
    """
    network = _NetworkWriter(weights)
    tensors: dict[str, int] = {}
    for number, tensor in network.layers(alpha, network.preprocess(image_size, scaling)):
        if number - 1 == cut:
            tensors["cut"] = tensor
        if set(outputs) == set(tensors):
            break
    else:
        tensors["pooled"] = tensor = network.pool(tensor)
    if "probabilities" in outputs:
        tensors["probabilities"] = network.add_head(tensor)
    description = f"MobileNetV2 alpha {alpha}, {image_size} px, {scaling}; uint8 RGB images of 32x32 pixels"
    return network.graph.pack({name: tensors[name] for name in OUTPUTS if name in outputs}, description)


def build_photo(
    weights: Named, alpha: float, image_size: int, blocks: Collection[int], head: Head | None = None
) -> bytes:
    """Return a LiteRT file for photos at the network's input size, uint8 (n, size, size, 3), for any n.

    The outputs are the pooled feature maps of `blocks`, numbered 1 to 17, and LAST_LAYER for the layer after them:
    "block_3" and so on, float32 (n, channels). Layers above the highest one are left out. If `head` is given, a kernel
    (channels, classes) and a bias (classes,) on the highest one, "probabilities" (n, classes) is also an output.
    """
    network = _NetworkWriter(weights, (image_size, image_size, 3))
    outputs = {}
    for number, tensor in network.layers(alpha, network.preprocess(image_size, "minus_one_to_one")):
        if number in blocks:
            outputs[f"block_{number}"] = network.pool(tensor, f"pooled_{number}")
        if number == max(blocks):
            break
    if head is not None:
        outputs["probabilities"] = network.add_linear_head(outputs[f"block_{max(blocks)}"], *head)
    description = f"MobileNetV2 alpha {alpha}; uint8 RGB images of {image_size}x{image_size} pixels"
    return network.graph.pack(outputs, description)


def build_after(weights: Named, alpha: float, image_size: int, fine_tune_blocks: int) -> bytes:
    """Return a LiteRT file of the layers above the cut: features float32 (n, ...) -> "probabilities" (n, 10).

    The features are the output of the block below the top `fine_tune_blocks`, (n, h, w, c), or, if there is no cut, of
    the pooling, (n, 1280). Raises KeyError if a weight is missing.
    """
    shape = architecture.cut_shape(alpha, image_size, fine_tune_blocks)
    network = _NetworkWriter(weights, shape or (architecture.top_channels(alpha),), _FEATURES)
    tensor = network.graph.input
    if shape:
        *_, (_, tensor) = network.layers(alpha, tensor, architecture.BLOCK_COUNT - fine_tune_blocks)
        tensor = network.pool(tensor)
    return network.graph.pack({"probabilities": network.add_head(tensor)}, f"top of MobileNetV2 alpha {alpha}")


class Network:
    """A LiteRT model for any number of images or stored features, thread-safe.

    Images beyond one batch are divided among `threads` threads (default: all cores) with one interpreter each. This is
    7 to 23% faster than one interpreter with threads that wait for each other after each layer (2 cores, width 0.5,
    96 px). One batch or less is computed by one interpreter with all threads.

    `content` is the file, `dtype` the type of its input, uint8 or float32. `output_shapes` contains the name and shape
    of each output, without the batch axis. Raises ValueError, RuntimeError or KeyError for a damaged file.
    """

    def __init__(self, content: bytes, threads: int | None = None) -> None:
        self.content, count = content, threads or machine.threads()
        self._shared = _Interpreter(content, count)
        self._single = [_Interpreter(content, 1) for _ in range(count)]
        details = self._shared.runner.get_input_details()[INPUT]
        self.dtype, self._shape = np.dtype(details["dtype"]), tuple(map(int, details["shape"][1:]))
        outputs = self._shared.runner.get_output_details()
        self.output_shapes = {name: tuple(map(int, output["shape"][1:])) for name, output in outputs.items()}

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Return the outputs of `images`, uint8 (n, 32, 32, 3), or of features: name -> float32 (n, ...).

        Raises ValueError if the dtype or shape is wrong.
        """
        if images.dtype != self.dtype or images.shape[1:] != self._shape:
            expected = f"{self.dtype} {('n', *self._shape)}"
            raise ValueError(f"images: received {images.dtype} {images.shape}, expected {expected}")
        if 0 < len(images) <= BATCH_SIZE:
            return self._shared.run(images)
        results = {name: np.empty((len(images), *shape), np.float32) for name, shape in self.output_shapes.items()}
        starts, single = range(0, len(images), BATCH_SIZE), self._single

        def work(number: int) -> None:
            for start in starts[number :: len(single)]:
                part = slice(start, start + BATCH_SIZE)
                for name, values in single[number].run(images[part]).items():
                    results[name][part] = values

        with ThreadPoolExecutor(len(single)) as pool:
            list(pool.map(work, range(len(single))))  # the list re-raises exceptions of threads
        return results


class _Interpreter:
    """An interpreter with `threads` threads, created at the first use; one thread at a time uses it."""

    def __init__(self, content: bytes, threads: int) -> None:
        self._content, self._threads, self._lock = content, threads, threading.Lock()

    @cached_property
    def runner(self) -> Any:
        """The function of LiteRT's signature. Raises ValueError, RuntimeError or KeyError for a damaged model."""
        from ai_edge_litert.interpreter import Interpreter  # takes 0.1 s, which most commands do not need

        interpreter = Interpreter(model_content=self._content, num_threads=self._threads)
        interpreter.allocate_tensors()
        return interpreter.get_signature_runner(SIGNATURE)

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Return the outputs of any number of images or features above 0."""
        with self._lock:
            return self.runner(**{INPUT: images})


class _NetworkWriter:
    """Writes the layers of the network with their folded weights into a graph."""

    def __init__(self, weights: Named, shape: tuple[int, ...] = IMAGE_SHAPE, dtype: np.dtype = _PIXELS) -> None:
        self.graph = Graph(shape, dtype)
        self._weights = weights

    def preprocess(self, image_size: int, scaling: str) -> int:
        """Add scaling, then resizing: both are linear, and scaling the small image is cheaper."""
        graph = self.graph
        shape = graph.shape(graph.input)
        factor, offset = SCALINGS[scaling]
        cast = schema.CastOptionsT(schema.TensorType.UINT8, schema.TensorType.FLOAT32)
        tensor = graph.add("pixels", _OPERATOR.CAST, [graph.input], shape, cast)
        inputs = [tensor, graph.constant("scaling/factor", np.array([factor], np.float32))]
        tensor = graph.add("scaled", _OPERATOR.MUL, inputs, shape, schema.MulOptionsT())
        inputs = [tensor, graph.constant("scaling/offset", np.array([offset], np.float32))]
        tensor = graph.add("shifted", _OPERATOR.ADD, inputs, shape, schema.AddOptionsT())
        if image_size == shape[0]:
            return tensor
        inputs = [tensor, graph.constant("resized/size", np.array([image_size] * 2, np.int32))]
        options = schema.ResizeBilinearOptionsT(halfPixelCenters=True)
        shape = (image_size, image_size, 3)
        return graph.add("resized", _OPERATOR.RESIZE_BILINEAR, inputs, shape, options, version=3)

    def layers(self, alpha: float, tensor: int, start: int = 0) -> Iterator[tuple[int, int]]:
        """Add the layers above block number `start`, from 1, one at a time; yield the number and output of each.

        Number 0 is Conv1, below the blocks, and is added if `start` is 0; LAST_LAYER is Conv_1, above them.
        """
        tensor = tensor if start else self.convolve("Conv1", tensor, stride=2)
        for number, block in enumerate(architecture.blocks(alpha)[start:], start + 1):
            tensor = self.add_block(block, tensor)
            yield number, tensor
        yield LAST_LAYER, self.convolve("Conv_1", tensor)

    def add_block(self, block: architecture.Block, tensor: int) -> int:
        """Add an inverted residual block."""
        start, name = tensor, block.name
        if block.expansion > 1:
            tensor = self.convolve(f"{name}_expand", tensor)
        tensor = self.convolve(f"{name}_depthwise", tensor, block.stride)
        tensor = self.convolve(f"{name}_project", tensor, activation=_ACTIVATION.NONE)
        if not block.residual:
            return tensor
        inputs, shape = [start, tensor], self.graph.shape(tensor)
        return self.graph.add(block.output_layer, _OPERATOR.ADD, inputs, shape, schema.AddOptionsT())

    def convolve(self, name: str, tensor: int, stride: int = 1, activation: int = _ACTIVATION.RELU6) -> int:
        """Add the convolution or depthwise convolution of the layer `name`, and its batch norm."""
        norm = architecture.batch_norm_name(name)
        factor, offset = self._fold(norm)
        kernel = self._read(f"{name}/kernel")  # (height, width, in, out), depthwise (height, width, channels, 1)
        shared = {"padding": _SAME, "strideW": stride, "strideH": stride, "fusedActivationFunction": activation}
        if name.endswith("_depthwise"):
            kernel = kernel.transpose(3, 0, 1, 2) * factor
            code, options = _OPERATOR.DEPTHWISE_CONV_2D, schema.DepthwiseConv2DOptionsT(depthMultiplier=1, **shared)
        else:
            kernel = (kernel * factor).transpose(3, 0, 1, 2)
            code, options = _OPERATOR.CONV_2D, schema.Conv2DOptionsT(**shared)
        height, width, _ = self.graph.shape(tensor)
        shape = -(-height // stride), -(-width // stride), len(offset)
        return self.graph.add(norm, code, [tensor, *self._constants(name, kernel, offset)], shape, options)

    def pool(self, tensor: int, name: str = "pooled") -> int:
        """Add global average pooling."""
        axes = self.graph.constant(f"{name}/axes", np.array([1, 2], np.int32))
        shape = self.graph.shape(tensor)[-1:]
        return self.graph.add(name, _OPERATOR.MEAN, [tensor, axes], shape, schema.ReducerOptionsT())

    def add_head(self, tensor: int) -> int:
        """Add the head, without dropout, which has no effect in inference."""
        factor, offset = self._fold("head_norm")
        kernel, bias = self._read("head_dense/kernel"), self._read("head_dense/bias")
        kernel, bias = factor[:, None] * kernel, bias + offset @ kernel
        tensor = self._connect("head_dense", tensor, kernel, bias, _ACTIVATION.RELU)
        return self.add_linear_head(tensor, self._read("head_output/kernel"), self._read("head_output/bias"))

    def add_linear_head(self, tensor: int, kernel: np.ndarray, bias: np.ndarray) -> int:
        """Add a dense layer and softmax."""
        tensor = self._connect("head_output", tensor, kernel, bias, _ACTIVATION.NONE)
        shape, options = self.graph.shape(tensor), schema.SoftmaxOptionsT(beta=1.0)
        return self.graph.add("probabilities", _OPERATOR.SOFTMAX, [tensor], shape, options)

    def _connect(self, name: str, tensor: int, kernel: np.ndarray, bias: np.ndarray, activation: int) -> int:
        options = schema.FullyConnectedOptionsT(fusedActivationFunction=activation)
        inputs = [tensor, *self._constants(name, kernel.T, bias)]
        return self.graph.add(name, _OPERATOR.FULLY_CONNECTED, inputs, bias.shape, options)

    def _constants(self, name: str, kernel: np.ndarray, bias: np.ndarray) -> list[int]:
        values = {"kernel": kernel, "bias": bias}
        return [self.graph.constant(f"{name}/{key}", v.astype(np.float32)) for key, v in values.items()]

    def _fold(self, norm: str) -> tuple[np.ndarray, np.ndarray]:
        """Return factor and offset of each channel of a batch norm in inference mode."""
        gamma, beta, mean, variance = (
            self._read(f"{norm}/{variable}") for variable in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        factor = gamma / np.sqrt(variance + _BATCH_NORM_EPSILON)
        return factor, beta - mean * factor

    def _read(self, name: str) -> np.ndarray:
        return self._weights[name].astype(np.float64)  # fold in float64, round once
