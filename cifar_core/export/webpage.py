"""Export a finished run as an HTML page that classifies photos in the browser, without server or network.

The page combines the files of page/ with the weights. Large kernels are int16 with a scale for each output channel, all
others float32. Float16, of the same size, would change probabilities by up to 0.05, since folded batch norms give
channels very different scales.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from cifar_core.data.cifar10 import CLASSES
from cifar_core.evaluation import predictions
from cifar_core.export import bundle
from cifar_core.inference import calibration, model_file
from cifar_core.network import litert_format
from cifar_core.runs import Run, labels

_PARTS = Path(__file__).parent / "page"
_FEWEST = 4096
"""Kernels with fewer weights, and depthwise kernels, stay float32: all later layers depend on them."""
_OPERATOR, _ACTIVATION = schema.BuiltinOperator, schema.ActivationFunctionType
_KINDS = {
    _OPERATOR.CONV_2D: "conv",
    _OPERATOR.DEPTHWISE_CONV_2D: "depthwise",
    _OPERATOR.FULLY_CONNECTED: "dense",
    _OPERATOR.RESIZE_BILINEAR: "resize",
    _OPERATOR.MEAN: "mean",
    _OPERATOR.SOFTMAX: "softmax",
    _OPERATOR.CAST: "scale",
    _OPERATOR.MUL: "scale",
    _OPERATOR.ADD: "scale",  # of a constant
}
_LIMITS = {_ACTIVATION.NONE: None, _ACTIVATION.RELU: 1e30, _ACTIVATION.RELU6: 6}


def page(run: Run) -> bytes:
    """Return the page of `run`, UTF-8. Raises RunError if the run has no evaluation or one of its files is damaged.

    The page's probabilities are calibrated as those of the app.
    """
    known = calibration.load(run.path / calibration.FILE)
    stored, name = predictions.load(run), labels.name_of(run)
    test = stored.test
    low, high = test.interval
    figures = bundle.card(run, stored.validation, test)
    shares = [f"{label} {row['accuracy']:.1%}" for label, row in figures["classes"].items() if row["images"]]
    card = {
        "Run": f"{name} ({run.id})",
        "Test accuracy": f"{test.accuracy:.1%} of {len(test.labels):,} images (95% interval {low:.1%} to {high:.1%})",
        "By class": ", ".join(shares),
        "Network": f"MobileNetV2, width {run.config.alpha:g}, {run.config.image_size} px",
        **bundle.facts(figures),
        "Command": figures["command"],
        "Classes": f"{', '.join(CLASSES)}; it predicts one of them for every picture.",
    }
    content = litert_format.probabilities_only(model_file.read(run))
    return assembled(content, name, CLASSES, 32, card, known.temperature if known else 1.0)


def source(name: str) -> str:
    """Return a file of the page as text."""
    return (_PARTS / name).read_text(encoding="utf-8")


def parts(content: bytes, temperature: float = 1.0) -> tuple[dict[str, Any], bytes]:
    """Convert a LiteRT file with only the output "probabilities" to the form of network.js: JSON, and weights.

    The converted network divides its logits by `temperature`.
    """
    network = _Network(content, temperature)
    return {"operators": network.operators, "weights": network.weights}, bytes(network.content)


def assembled(
    content: bytes, name: str, classes: Sequence[str], side: int, card: Mapping[str, str], temperature: float = 1.0
) -> bytes:
    """Return the page of a LiteRT file with only the output "probabilities", for pictures of `side` pixels.

    `card` is the table about the model. All texts are escaped. `temperature` is as in `parts`.
    """
    network, weights = parts(content, temperature)
    title = f"What is in your photo? {name}"
    model = {"title": title, "classes": classes, "side": side, "network": network, "card": card}
    script = source("prepare.js") + source("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = Template(source("page.html")).substitute(
        hash=f"sha256-{digest}",
        model=json.dumps(model).replace("<", "\\u003c"),
        weights=base64.b64encode(weights).decode(),
        worker=source("network.js"),
        script=script,
    )
    return page.encode()


class _Network:
    """Converter from a LiteRT file of `litert.build` to the operators of network.js.

    A feature map is identified by the number of its operator.
    """

    def __init__(self, content: bytes, temperature: float) -> None:
        self._temperature = temperature
        self._model = litert_format.unpack(content)
        self._graph = self._model.subgraphs[0]
        self._maps = {self._graph.inputs[0]: 0}
        self.operators: list[dict[str, Any]] = []
        self.weights: list[dict[str, Any]] = []
        self.content = bytearray()
        for operator in self._graph.operators:
            self._add(operator)

    def _add(self, operator: schema.OperatorT) -> None:
        code = self._model.operatorCodes[operator.opcodeIndex].builtinCode
        first, second = operator.inputs[0], operator.inputs[-1]
        layer: dict[str, Any] = {"input": self._shape(first), "output": self._shape(operator.outputs[0])}
        sources = [self._maps[first]]
        if code == _OPERATOR.SOFTMAX:
            self.operators.append({"kind": "scale", "factor": 1 / self._temperature, "offset": 0, "from": sources})
            sources = [len(self.operators)]
        if code in (_OPERATOR.CONV_2D, _OPERATOR.DEPTHWISE_CONV_2D, _OPERATOR.FULLY_CONNECTED):
            layer |= self._layer(operator, code)
        elif code == _OPERATOR.ADD and second in self._maps:
            layer["kind"] = "add"
            sources.append(self._maps[second])
        else:
            layer["kind"] = _KINDS[code]
            if layer["kind"] == "scale":
                layer["factor"] = self._values(second).item() if code == _OPERATOR.MUL else 1
                layer["offset"] = self._values(second).item() if code == _OPERATOR.ADD else 0
        self.operators.append(layer | {"from": sources})
        self._maps[operator.outputs[0]] = len(self.operators)

    def _layer(self, operator: schema.OperatorT, code: int) -> dict[str, Any]:
        """Return a layer with weights."""
        kernel, bias = (self._values(tensor) for tensor in operator.inputs[1:])
        options = operator.builtinOptions
        depthwise = code == _OPERATOR.DEPTHWISE_CONV_2D
        layer = {
            "kind": _KINDS[code],
            "kernel": self._store(kernel, rounded=not depthwise and kernel.size >= _FEWEST),
            "bias": self._store(bias, rounded=False),
            "limit": _LIMITS[options.fusedActivationFunction],
        }
        if code != _OPERATOR.FULLY_CONNECTED:
            layer |= {"side": kernel.shape[1], "stride": options.strideH}
        return layer

    def _store(self, values: np.ndarray, rounded: bool) -> int:
        """Append weights and return their number."""
        self.content += bytes(-len(self.content) % 4)  # float32 must be aligned
        entry: dict[str, Any] = {"offset": len(self.content), "size": values.size}
        if rounded:  # the first axis is the output channels
            rows = values.reshape(len(values), -1)
            scales = np.maximum(np.abs(rows).max(axis=1), 1e-30) / 32767
            values = np.rint(rows / scales[:, None])
            entry["scales"] = [float(f"{scale:.9g}") for scale in scales]
        self.content += values.astype("<i2" if rounded else "<f4").tobytes()
        self.weights.append(entry)
        return len(self.weights) - 1

    def _shape(self, tensor: int) -> list[int]:
        """Return a tensor's shape without the batch."""
        return [int(side) for side in self._graph.tensors[tensor].shape[1:]]

    def _values(self, tensor: int) -> np.ndarray:
        entry = self._graph.tensors[tensor]
        return np.frombuffer(self._model.buffers[entry.buffer].data.tobytes(), np.float32).reshape(entry.shape)
