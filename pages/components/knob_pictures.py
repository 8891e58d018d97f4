"""A picture below each of the three main sliders of *Train* that follows it."""

from __future__ import annotations

import base64
import io

import numpy as np
import streamlit as st

from cifar_core.data import augmentation, cifar10
from cifar_core.errors import DataError
from cifar_core.network import architecture
from pages.components import formatting

_WIDEST = 1.4
_UNITS = 100
_ORDER = np.random.default_rng(1).permutation(_UNITS)
_IMAGES = 8


def draw(name: str, value: float) -> None:
    """Draw the picture of the setting called `name` at `value`."""
    picture, words = {"alpha": _channels, "dropout": _units, "augmentation": _augmented}[name](value)
    st.html(f'<div class="knob-picture">{picture}</div>')
    st.caption(words)


def _channels(alpha: float) -> tuple[str, str]:
    """Return the channels of each of the 17 blocks as bars, with the widest network's behind; and a sentence."""
    own = [block.out_channels for block in architecture.blocks(alpha)]
    widest = [block.out_channels for block in architecture.blocks(_WIDEST)]
    most = max(widest)
    bars = "".join(
        f'<i style="height:{100 * (limit / most) ** 0.5:.0f}%"><b style="height:{100 * count / limit:.0f}%"></b></i>'
        for count, limit in zip(own, widest, strict=True)
    )
    picture = f'<div class="channels" role="img" aria-label="Channels of the 17 blocks at width {alpha:g}">{bars}</div>'
    return picture, f"Channels of the 17 blocks: {own[0]} in the first, {own[-1]} in the last. Gray: width 1.4."


def _units(share: float) -> tuple[str, str]:
    """Return a hundred units of which `share` are switched off, and a sentence."""
    off = round(share * _UNITS)
    switched_off = set(_ORDER[:off].tolist())
    dots = "".join(f"<i{'' if unit in switched_off else ' class=on'}></i>" for unit in range(_UNITS))
    picture = f'<div class="units" role="img" aria-label="{off} of {_UNITS} units switched off">{dots}</div>'
    return picture, f"At each training step {off} of 100 inputs of the head are set to zero."


def _augmented(strength: float) -> tuple[str, str]:
    """Return a few training images, and below them what the training sees of them; and a sentence."""
    words = f"Below: what the training sees. {str(augmentation.ranges(strength)).capitalize()}."
    try:
        images, _ = cifar10.samples(_IMAGES, st.session_state.get("dataset", "auto"))
    except DataError:  # the page says why
        return "", words
    seed = int(st.session_state.get("seed", 1))
    changed = augmentation.augment(images, np.arange(len(images)), strength, seed, 0)
    rows = (_image(images, "Training images"), _image(changed, f"The same images, augmented at strength {strength:g}"))
    return "".join(rows), words


def _image(images: np.ndarray, alt: str) -> str:
    file = io.BytesIO()
    formatting.enlarged(images).save(file, "PNG")
    return f'<img src="data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}" alt="{alt}">'
