"""The frozen part on a graphics card, in Keras. On a CPU LiteRT is several times faster (see trunk.py)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cifar_core.config import TrainConfig
from cifar_core.network import architecture
from cifar_core.network.pretrained import Named

_DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")  # Nvidia, AMD, and either below Windows
_BATCH = 512


def is_visible() -> bool:
    """Return whether Keras sees a graphics card. Imports it only where the system has a card's driver."""
    if not any(Path(driver).exists() for driver in _DRIVERS):
        return False
    import keras

    return bool(keras.distribution.list_devices("gpu"))


class Network:
    """The frozen part as a Keras model, with the face of `litert.Network`."""

    def __init__(self, config: TrainConfig, base: Named, outputs: list[str]) -> None:
        """Build it with the named weights `base`; `outputs` are some of "cut" and "pooled"."""
        import keras

        from cifar_core.training import model

        whole = model.build(config, base)
        cut = architecture.cut_block(config.fine_tune_blocks)
        layers = {"pooled": "pooled"}
        if cut is not None:
            layers["cut"] = architecture.blocks(config.alpha)[cut].output_layer
        self._model = keras.Model(whole.input, {name: whole.get_layer(layers[name]).output for name in outputs})

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Return the outputs, float32 (n, ...) each, for uint8 (n, 32, 32, 3)."""
        found: dict[str, np.ndarray] = self._model.predict(images.astype(np.float32), batch_size=_BATCH, verbose=0)
        return found
