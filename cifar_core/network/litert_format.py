"""The format of LiteRT's files: a graph that is put together operator by operator, files as objects and back.

The format: https://ai.google.dev/edge/litert, schema.fbs of LiteRT.
"""

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

INPUT = "images"
SIGNATURE = "serving_default"
_ALIGNMENT = 16  # bytes; the schema demands it for weights, flatbuffers' Python code forgets it
_TYPES = {
    np.dtype(np.float32): schema.TensorType.FLOAT32,
    np.dtype(np.int32): schema.TensorType.INT32,
    np.dtype(np.uint8): schema.TensorType.UINT8,
}


def unpack(content: bytes) -> schema.ModelT:
    """Return a LiteRT file as objects that can be changed; only for a file that `Network` has accepted."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content))
    for number, buffer in enumerate(model.buffers):
        model.buffers[number] = _Buffer(data=buffer.data)
    return model


def pack(model: schema.ModelT) -> bytes:
    """Return the file that holds `model`, whose weights are NumPy arrays of uint8 in `unpack`'s buffers."""
    builder = flatbuffers.Builder(sum(b.data.nbytes for b in model.buffers if b.data is not None) + 2**16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def probabilities_only(content: bytes) -> bytes:
    """Return the LiteRT file `content` with "probabilities" as its only output, as other programs expect it."""
    model = unpack(content)
    signature, graph = model.signatureDefs[0], model.subgraphs[0]
    signature.outputs = [output for output in signature.outputs if output.name == b"probabilities"]
    graph.outputs = [output.tensorIndex for output in signature.outputs]
    return pack(model)


class _Buffer(schema.BufferT):
    """Constant bytes, aligned as LiteRT's kernels expect."""

    def Pack(self, builder: flatbuffers.Builder) -> int:  # noqa: N802 (the name of the generated code)
        if self.data is not None:
            builder.Prep(_ALIGNMENT, self.data.nbytes)
        return super().Pack(builder)


class Graph:
    """A LiteRT model under construction. Tensors are numbers, as in the file."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self._tensors: list[schema.TensorT] = []
        self._buffers = [_Buffer()]  # number 0 is by definition empty, and stands for "computed"
        self._operators: list[schema.OperatorT] = []
        self._codes: dict[tuple[int, int], int] = {}
        self.input = self._tensor(INPUT, (1, *shape), dtype, buffer=0)

    def constant(self, name: str, values: np.ndarray) -> int:
        """Add weights, float32 or int32."""
        data = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
        self._buffers.append(_Buffer(data=data))
        return self._tensor(name, values.shape, values.dtype, buffer=len(self._buffers) - 1)

    def add(
        self, name: str, code: int, inputs: list[int], shape: tuple[int, ...], options: Any, version: int = 1
    ) -> int:
        """Add an operator; return its float32 output, whose `shape` leaves the batch out."""
        output = self._tensor(name, (1, *shape), np.dtype(np.float32), buffer=0)
        self._operators.append(
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
        """Shape of one image's tensor: the batch is left out."""
        return tuple(self._tensors[tensor].shape[1:])

    def pack(self, outputs: dict[str, int], description: str) -> bytes:
        """Return the file."""
        subgraph = schema.SubGraphT(
            tensors=self._tensors,
            inputs=[self.input],
            outputs=list(outputs.values()),
            operators=self._operators,
            name="main",
        )
        signature = schema.SignatureDefT(
            inputs=[schema.TensorMapT(INPUT, self.input)],
            outputs=[schema.TensorMapT(name, tensor) for name, tensor in outputs.items()],
            signatureKey=SIGNATURE,
        )
        codes = [
            schema.OperatorCodeT(deprecatedBuiltinCode=code, builtinCode=code, version=version)
            for code, version in self._codes
        ]
        model = schema.ModelT(
            version=3,
            operatorCodes=codes,
            subgraphs=[subgraph],
            description=description,
            buffers=self._buffers,
            signatureDefs=[signature],
        )
        return pack(model)

    def _tensor(self, name: str, shape: tuple[int, ...], dtype: np.dtype, buffer: int) -> int:
        signature = None if buffer else [-1, *shape[1:]]  # any number of images
        self._tensors.append(
            schema.TensorT(name=name, shape=list(shape), shapeSignature=signature, type=_TYPES[dtype], buffer=buffer)
        )
        return len(self._tensors) - 1
