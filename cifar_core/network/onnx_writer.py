"""Converts a LiteRT file of `litert.build` to ONNX with the same weights and operators, in 60 ms, without TensorFlow.

LiteRT is channels-last (n, h, w, c), ONNX channels-first (n, c, h, w); the pixels are transposed once, at the start.
Operators: https://onnx.ai/onnx/operators/, opset 18.
"""

from typing import Any

import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema
from onnx import TensorProto, helper, numpy_helper

from cifar_core.network import litert_format

OPSET = 18
_IR_VERSION = 8  # the oldest for opset 18, and the newest that ONNX Runtime 1.14 reads
_OPERATOR = schema.BuiltinOperator
_ACTIVATION = schema.ActivationFunctionType
_DTYPES = {schema.TensorType.FLOAT32: np.float32, schema.TensorType.INT32: np.int32}


def converted(content: bytes) -> bytes:
    """Convert the LiteRT file `content` to ONNX: "images", uint8 (n, side, side, 3) -> its float32 outputs."""
    return _Converter(litert_format.unpack(content)).convert().SerializeToString()


class _Converter:
    """One conversion. Tensors are named by their index, outputs by their name in the signature."""

    def __init__(self, model: schema.ModelT) -> None:
        self._model, self._graph = model, model.subgraphs[0]
        self._nodes: list[onnx.NodeProto] = []
        self._weights: dict[str, onnx.TensorProto] = {}
        self._outputs = {item.tensorIndex: item.name.decode() for item in model.signatureDefs[0].outputs}

    def convert(self) -> onnx.ModelProto:
        """Return the ONNX model."""
        self._add("Transpose", [litert_format.INPUT], str(self._graph.inputs[0]), perm=[0, 3, 1, 2])
        for operator in self._graph.operators:
            self._convert(operator)
        shape: list[str | int | None] = ["n", *self._shape(self._graph.inputs[0])[1:]]
        pixels = helper.make_tensor_value_info(litert_format.INPUT, TensorProto.UINT8, shape)
        outputs = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *self._shape(tensor)[1:]])
            for tensor, name in self._outputs.items()
        ]
        graph = helper.make_graph(self._nodes, "mobilenet_v2_cifar10", [pixels], outputs, list(self._weights.values()))
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="CIFAR Studio", ir_version=_IR_VERSION
        )
        model.doc_string = self._model.description.decode()
        onnx.checker.check_model(model, full_check=True)
        return model

    def _convert(self, operator: schema.OperatorT) -> None:
        code = self._model.operatorCodes[operator.opcodeIndex].builtinCode
        inputs, output, options = list(operator.inputs), operator.outputs[0], operator.builtinOptions
        name, first = self._name(output), self._name(inputs[0])
        if code in (_OPERATOR.CONV_2D, _OPERATOR.DEPTHWISE_CONV_2D):
            self._convolve(inputs, output, options, depthwise=code == _OPERATOR.DEPTHWISE_CONV_2D)
        elif code == _OPERATOR.FULLY_CONNECTED:
            self._add_activated("Gemm", [self._input(tensor) for tensor in inputs], output, options, transB=1)
        elif code == _OPERATOR.CAST:
            self._add("Cast", [first], name, to=TensorProto.FLOAT)
        elif code in (_OPERATOR.MUL, _OPERATOR.ADD):
            self._add("Mul" if code == _OPERATOR.MUL else "Add", [self._input(tensor) for tensor in inputs], name)
        elif code == _OPERATOR.RESIZE_BILINEAR:
            height, width = self._values(inputs[1]) / np.array(self._shape(inputs[0])[1:3])
            scales = self._store(f"{output}/scales", np.array([1, 1, height, width], np.float32))  # OpenCV reads four
            self._add("Resize", [first, "", scales], name, mode="linear", coordinate_transformation_mode="half_pixel")
        elif code == _OPERATOR.MEAN:
            axes = self._constant(inputs[1], np.array([2, 3], np.int64))
            self._add("ReduceMean", [first, axes], name, keepdims=0)
        elif code == _OPERATOR.SOFTMAX:
            self._add("Softmax", [first], name, axis=-1)
        else:
            raise ValueError(f"operator {code}: received one that litert.build does not write")

    def _convolve(self, inputs: list[int], output: int, options: Any, depthwise: bool) -> None:
        kernel = self._values(inputs[1])  # (out, h, w, in); depthwise (1, h, w, out)
        kernel = kernel.transpose(3, 0, 1, 2) if depthwise else kernel.transpose(0, 3, 1, 2)
        sides, strides = np.array(self._shape(inputs[0])[1:3]), np.array([options.strideH, options.strideW])
        # LiteRT's SAME padding; an odd number has one more zero after than before
        zeros = np.maximum((-(-sides // strides) - 1) * strides + kernel.shape[2:] - sides, 0)
        self._add_activated(
            "Conv",
            [self._name(inputs[0]), self._constant(inputs[1], kernel), self._input(inputs[2])],
            output,
            options,
            group=len(kernel) if depthwise else 1,
            kernel_shape=list(kernel.shape[2:]),  # OpenCV does not infer it
            strides=strides.tolist(),
            pads=[*(zeros // 2).tolist(), *(zeros - zeros // 2).tolist()],
        )

    def _add_activated(self, kind: str, inputs: list[str], output: int, options: Any, **attributes: Any) -> None:
        """Add a layer with its activation."""
        name, activation = self._name(output), options.fusedActivationFunction
        linear = name if activation == _ACTIVATION.NONE else f"{name}/linear"
        self._add(kind, inputs, linear, **attributes)
        if activation == _ACTIVATION.RELU:
            self._add("Relu", [linear], name)
        elif activation == _ACTIVATION.RELU6:
            limits = [self._store(f"relu6/{end}", np.array(end, np.float32)) for end in (0, 6)]
            self._add("Clip", [linear, *limits], name)

    def _add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> None:
        self._nodes.append(helper.make_node(kind, inputs, [output], name=f"{kind}/{output}", **attributes))

    def _input(self, tensor: int) -> str:
        is_constant = self._model.buffers[self._graph.tensors[tensor].buffer].data is not None
        return self._constant(tensor, self._values(tensor)) if is_constant else self._name(tensor)

    def _constant(self, tensor: int, values: np.ndarray) -> str:
        return self._store(f"{tensor}/{self._graph.tensors[tensor].name.decode()}", values)

    def _store(self, name: str, values: np.ndarray) -> str:
        self._weights[name] = numpy_helper.from_array(np.ascontiguousarray(values), name)
        return name

    def _name(self, tensor: int) -> str:
        return self._outputs.get(tensor, str(tensor))

    def _shape(self, tensor: int) -> tuple[int, ...]:
        return tuple(int(side) for side in self._graph.tensors[tensor].shape)

    def _values(self, tensor: int) -> np.ndarray:
        entry = self._graph.tensors[tensor]
        content = self._model.buffers[entry.buffer].data.tobytes()
        return np.frombuffer(content, _DTYPES[entry.type]).reshape(entry.shape)
