"""LiteRT's file format: builds a graph operator by operator, and edits existing files.

TensorFlow's converter takes 10 to 20 s; this module takes about 30 ms. The format is LiteRT's schema.fbs,
https://ai.google.dev/edge/litert.
"""

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

INPUT = "images"
SIGNATURE = "serving_default"
_ALIGNMENT = 16  # bytes; the schema requires it for weights, but flatbuffers' Python code does not align
_TYPES = {
    np.dtype(np.float32): schema.TensorType.FLOAT32,
    np.dtype(np.int32): schema.TensorType.INT32,
    np.dtype(np.uint8): schema.TensorType.UINT8,
}
_OPERATOR = schema.BuiltinOperator
_CHANNEL_AXES = {_OPERATOR.CONV_2D: 0, _OPERATOR.DEPTHWISE_CONV_2D: 3, _OPERATOR.FULLY_CONNECTED: 0}
_MIN_INT8_WEIGHTS = 4096  # smaller kernels stay float32: those of the first blocks, on which all layers depend
# Version 5 is the first with documented per-channel scales, but LiteRT's reference kernels reject it up to TensorFlow
# 2.19, while all kernels since tflite-runtime 2.14 compute per-channel scales with version 3.
_DEQUANTIZE_VERSION = 3


def unpack(content: bytes) -> schema.ModelT:
    """Return a LiteRT file as mutable objects; only for a file that `Network` has accepted."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content))
    for number, buffer in enumerate(model.buffers):
        model.buffers[number] = _Buffer(data=buffer.data)
    return model


def pack(model: schema.ModelT) -> bytes:
    """Return the file of `model`. Its weights are uint8 NumPy arrays in buffers as `unpack` returns them."""
    builder = flatbuffers.Builder(sum(b.data.nbytes for b in model.buffers if b.data is not None) + 2**16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def probabilities_only(content: bytes) -> bytes:
    """Return the LiteRT file `content` with "probabilities" as its only output, for other programs."""
    model = unpack(content)
    signature, graph = model.signatureDefs[0], model.subgraphs[0]
    signature.outputs = [output for output in signature.outputs if output.name == b"probabilities"]
    graph.outputs = [output.tensorIndex for output in signature.outputs]
    return pack(model)


def quantized(content: bytes) -> bytes:
    """Return the LiteRT file `content`, one of `litert.build`, with int8 weights; inputs and outputs stay float32.

    The file is a third of the size. Large kernels are rounded to int8 with one scale per output channel. A DEQUANTIZE
    operator converts them back to float32; XNNPACK runs it once, at loading, so the model is as fast as before.
    Agreement with the run's predicted classes, at α 0.5 and 96 px on 2,000 CIFAR-10 test images: 97.6% and 98.2% (two
    runs); with all kernels rounded 95.9% and 95.6%; with rounded activations as well, as in TensorFlow's "dynamic
    range", 95.6%, and three times slower.
    """
    model = unpack(content)
    graph, dequantize = model.subgraphs[0], len(model.operatorCodes)
    model.operatorCodes.append(
        schema.OperatorCodeT(
            deprecatedBuiltinCode=_OPERATOR.DEQUANTIZE, builtinCode=_OPERATOR.DEQUANTIZE, version=_DEQUANTIZE_VERSION
        )
    )
    operators = []
    for operator in graph.operators:
        axis = _CHANNEL_AXES.get(model.operatorCodes[operator.opcodeIndex].builtinCode)
        if axis is not None and np.prod(graph.tensors[operator.inputs[1]].shape) >= _MIN_INT8_WEIGHTS:
            image, kernel, bias = operator.inputs
            _quantize(graph.tensors[kernel], model.buffers[graph.tensors[kernel].buffer], axis)
            graph.tensors.append(schema.TensorT(name=graph.tensors[kernel].name, shape=graph.tensors[kernel].shape))
            widened = len(graph.tensors) - 1
            operators.append(schema.OperatorT(opcodeIndex=dequantize, inputs=[kernel], outputs=[widened]))
            operator.inputs = [image, widened, bias]
        operators.append(operator)
    graph.operators = operators
    return pack(model)


def _quantize(kernel: schema.TensorT, buffer: schema.BufferT, axis: int) -> None:
    """Quantize a float32 kernel to int8 in place, with one scale per channel along `axis`."""
    values = np.frombuffer(buffer.data.tobytes(), np.float32).reshape(kernel.shape)
    others = tuple(i for i in range(values.ndim) if i != axis)
    scale = np.maximum(np.abs(values).max(axis=others, keepdims=True), 1e-12) / 127
    buffer.data = np.rint(values / scale).astype(np.int8).reshape(-1).view(np.uint8)
    kernel.type = schema.TensorType.INT8
    kernel.quantization = schema.QuantizationParametersT(
        scale=scale.ravel().astype(np.float32), zeroPoint=np.zeros(scale.size, np.int64), quantizedDimension=axis
    )


class _Buffer(schema.BufferT):
    """A buffer of constants, aligned as LiteRT's kernels expect."""

    def Pack(self, builder: flatbuffers.Builder) -> int:  # noqa: N802 (the name of the generated code)
        if self.data is not None:
            builder.Prep(_ALIGNMENT, self.data.nbytes)
        return super().Pack(builder)


class Graph:
    """Builder of a LiteRT model. Tensors are integer indices, as in the file."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self._graph = schema.SubGraphT(tensors=[], operators=[], name="main")
        buffers = [_Buffer()]  # buffer 0 is always empty, for computed tensors
        self._model = schema.ModelT(version=3, subgraphs=[self._graph], buffers=buffers)
        self._codes: dict[tuple[int, int], int] = {}
        self.input = self._tensor(INPUT, (1, *shape), dtype, buffer=0)

    def constant(self, name: str, values: np.ndarray) -> int:
        """Add a constant tensor, float32 or int32, and return it."""
        data = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
        self._model.buffers.append(_Buffer(data=data))
        return self._tensor(name, values.shape, values.dtype, buffer=len(self._model.buffers) - 1)

    def add(
        self, name: str, code: int, inputs: list[int], shape: tuple[int, ...], options: Any, version: int = 1
    ) -> int:
        """Add an operator and return its float32 output; `shape` excludes the batch axis."""
        output = self._tensor(name, (1, *shape), np.dtype(np.float32), buffer=0)
        self._graph.operators.append(
            schema.OperatorT(
                opcodeIndex=self._codes.setdefault((code, version), len(self._codes)),
                inputs=inputs,
                outputs=[output],
                builtinOptionsType=getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T")),
                builtinOptions=options,
            )
        )
        return output

    def shape(self, tensor: int) -> tuple[int, ...]:
        """Return the shape of a tensor without the batch axis."""
        return tuple(self._graph.tensors[tensor].shape[1:])

    def pack(self, outputs: dict[str, int], description: str) -> bytes:
        """Return the LiteRT file."""
        self._graph.inputs, self._graph.outputs = [self.input], list(outputs.values())
        self._model.description = description
        self._model.signatureDefs = [
            schema.SignatureDefT(
                inputs=[schema.TensorMapT(INPUT, self.input)],
                outputs=[schema.TensorMapT(name, tensor) for name, tensor in outputs.items()],
                signatureKey=SIGNATURE,
            )
        ]
        self._model.operatorCodes = [
            schema.OperatorCodeT(deprecatedBuiltinCode=code, builtinCode=code, version=version)
            for code, version in self._codes
        ]
        return pack(self._model)

    def _tensor(self, name: str, shape: tuple[int, ...], dtype: np.dtype, buffer: int) -> int:
        signature = None if buffer else [-1, *shape[1:]]  # any number of images
        self._graph.tensors.append(
            schema.TensorT(name=name, shape=list(shape), shapeSignature=signature, type=_TYPES[dtype], buffer=buffer)
        )
        return len(self._graph.tensors) - 1
