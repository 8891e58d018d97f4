"""The knobs of a configuration as widgets, grouped; presets set all of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import streamlit as st

from cifar_core.config import KNOBS, PRESET_HELP, PRESETS, Knob, TrainConfig
from cifar_core.data import augmentation, cifar10
from cifar_core.errors import ConfigError, DataError
from cifar_core.network import pretrained
from pages.components import formatting, messages

_PREVIEW_IMAGES = 7


def configuration() -> TrainConfig | None:
    """Show the presets, of which each sets every knob; return the configuration that the knobs stand at.

    None, with the reason shown, where they do not go together. To be called before `panel`, whose widgets tell the
    session's state what they stand at before the page is run.
    """
    for name in KNOBS:
        if _key(name) not in st.session_state:
            st.session_state[_key(name)] = getattr(PRESETS["quick"], name)
    widths = _widths()[0]
    if st.session_state[_key("alpha")] not in widths:
        st.session_state[_key("alpha")] = widths[0]
    current = next((name for name, config in PRESETS.items() if _values() == _values_of(config)), None)
    st.session_state["preset"] = current
    st.segmented_control("Preset", list(PRESETS), key="preset", on_change=_apply_preset, format_func=str.capitalize)
    st.caption(PRESET_HELP[current] if current else "Your own choice of knobs. A preset sets them all back.")
    try:
        return TrainConfig(**_values())
    except ConfigError as error:
        messages.problem(error)
        return None


def panel() -> None:
    """Show every knob, grouped."""
    groups: dict[str, list[Knob]] = {}
    for knob in KNOBS.values():
        groups.setdefault(knob.group, []).append(knob)
    for group, members in groups.items():
        with st.expander(group, expanded=group in ("Network", "Head", "Augmentation")):
            for knob in members:
                _widget(knob)


def _widget(knob: Knob) -> None:
    key = _key(knob.name)
    common: dict[str, Any] = {"key": key, "help": _help(knob), "persist_state": "session"}
    label = f"{knob.label} ({knob.unit})" if knob.unit and not knob.choices else knob.label
    kind = type(knob.default)
    if knob.choices:
        st.selectbox(label, _available(knob), format_func=knob.say, **common)
    elif knob.name == "seed":
        st.number_input(label, min_value=int(knob.low or 0), max_value=int(knob.high or 0), step=1, **common)
    elif knob.log:
        st.select_slider(label, log_steps(knob, st.session_state[key]), format_func=knob.say, **common)
    else:
        st.slider(label, min_value=kind(knob.low), max_value=kind(knob.high), step=kind(knob.step), **common)
    if knob.name == "augmentation":
        _preview(st.session_state[key])


def _preview(strength: float) -> None:
    """Show the first images as they are and as a training at `strength` would see them."""
    try:
        images, _ = cifar10.samples(_PREVIEW_IMAGES, st.session_state[_key("dataset")])
    except DataError:  # why is said beside the knobs
        st.caption(f"At this strength: {augmentation.ranges(strength)}.")
        return
    changed = augmentation.augment(images, np.arange(len(images)), strength, st.session_state[_key("seed")], 0)
    st.image(formatting.enlarged(images), width="stretch")
    st.image(formatting.enlarged(changed), width="stretch")
    st.caption(f"Above as they are, below as the training sees them: {augmentation.ranges(strength)}.")


def _available(knob: Knob) -> list[Any]:
    """Return the choices that can be had here; say why the others cannot."""
    if knob.name != "alpha":
        return list(knob.choices)
    usable, missing = _widths()
    if missing:
        widths = ", ".join(f"{alpha:g}" for alpha in missing)
        st.caption(f"Width {widths} cannot be chosen: {messages.plain(next(iter(missing.values())))}.")
    return usable


def _widths() -> tuple[list[float], dict[float, str]]:
    """Return the widths that can be had from the chosen start, all where none can; and why the others cannot."""
    size, start = st.session_state[_key("image_size")], st.session_state[_key("weights")]
    widths = KNOBS["alpha"].choices
    reasons = {alpha: pretrained.unavailable_reason(start, alpha, size) for alpha in widths}
    missing = {alpha: reason for alpha, reason in reasons.items() if reason}
    usable = [alpha for alpha in widths if alpha not in missing]
    return (usable, missing) if usable else (list(widths), {})


def _help(knob: Knob) -> str:
    text = knob.help
    if knob.mistakes:
        text += " On purpose wrong: " + ", ".join(knob.say(choice) for choice in knob.mistakes) + "."
    return messages.plain(text)


def log_steps(knob: Knob, current: Any) -> list[Any]:
    """Return 1, 2, 5 for each power of ten in the knob's range (powers of two for units), its ends and `current`."""
    low, high, kind = knob.low or 0, knob.high or 0, type(knob.default)
    smallest = low or high / 1e4
    if knob.unit == "units":
        steps = [2**i for i in range(int(math.log2(low)), int(math.log2(high)) + 1)]
    else:
        powers = range(math.floor(math.log10(smallest)), math.ceil(math.log10(high)) + 1)
        steps = [float(f"{digit}e{power}") for power in powers for digit in (1, 2, 5)]
    inside = {kind(step) for step in steps if smallest <= step <= high}
    return sorted(inside | {kind(low), kind(high), current})


def _apply_preset() -> None:
    chosen = st.session_state["preset"]
    if chosen in PRESETS:
        for name, value in _values_of(PRESETS[chosen]).items():
            st.session_state[_key(name)] = value


def _values() -> dict[str, Any]:
    return {name: st.session_state[_key(name)] for name in KNOBS}


def _values_of(config: TrainConfig) -> dict[str, Any]:
    return {name: getattr(config, name) for name in KNOBS}


def _key(name: str) -> str:
    return f"knob_{name}"


def set_all(config: TrainConfig) -> None:
    """Set every knob to `config`; only before the widgets are drawn, as in a callback."""
    for name, value in _values_of(config).items():
        st.session_state[_key(name)] = value
