"""The training settings as widgets: presets, three main sliders with pictures, the others in an expander.

The URL holds each setting that differs from Quick, so a link shares the settings.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import numpy as np
import streamlit as st

from cifar_core import glossary
from cifar_core.charts import pictures
from cifar_core.config import KNOBS, PRESET_ACCURACY, PRESET_HELP, PRESETS, Knob, TrainConfig
from cifar_core.data import augmentation, cifar10
from cifar_core.errors import ConfigError, DataError
from cifar_core.evaluation import listing
from cifar_core.network import architecture
from pages.components import address, formatting, guarded, run_picker, style

MAIN = ("alpha", "dropout", "augmentation")
USUAL = PRESETS["quick"]
_IMAGES = 8
_COLUMNS = (
    ("Data", "Network", "Head"),
    ("Phase 1: head", "Phase 2: fine-tuning", "Augmentation"),
    ("Optimization", "Distillation", "Deliberate mistakes"),
)


def presets(times: dict[str, str], real_images: bool) -> None:
    """Draw a tile for each preset with its duration from `times`, and its accuracy if `real_images` is true.

    The recipe of the tutorials is a line below the tiles. Call it before the settings are drawn: a click sets them.
    """
    linked, _ = in_address()
    for name in KNOBS:  # a new session has the URL's values as defaults: after a restart, the browser's are newer
        if address.decides(name) and address.is_history():
            st.session_state[name] = linked.get(name, getattr(USUAL, name))
    with st.grid(len(PRESET_ACCURACY), min_column_width=220):
        for name, accuracy in PRESET_ACCURACY.items():
            words = [times[name]] if name in times else []
            if real_images:
                words.append(f"{accuracy:.0%} correct")
            label = f"**{name.capitalize()}**  \n{' · '.join(words)}  \n:small[{PRESET_HELP[name]}]"
            if st.button(label, key=f"preset_{name}", width="stretch", wrap=True):
                set_all(PRESETS[name])
    if st.button("Classic: the recipe of the tutorials", key="preset_classic", type="tertiary"):
        set_all(PRESETS["classic"])
    values = _values()
    for name, config in PRESETS.items():
        if values == vars(config):
            style.mark(f"preset_{name}")


def main_sliders() -> None:
    """Draw the three most important settings, each above a picture of its effect."""
    values, places = _values(), st.container(key="main_sliders").columns(len(MAIN), gap="medium")
    for place, name in zip(places, MAIN, strict=True):
        with place:
            value = _widget(KNOBS[name], values[name])
            _picture(name, value)


def _picture(name: str, value: float) -> None:
    """Draw the effect of a main setting at `value`."""
    if name != "augmentation":
        svg = _network() if name == "alpha" else pictures.units(value)
    else:
        try:
            images, _ = cifar10.samples(_IMAGES, st.session_state.get("dataset", "auto"))
        except DataError:  # the page shows why
            return
        seed = int(st.session_state.get("seed", 1))
        changed = augmentation.augment(images, np.arange(len(images)), value, seed, 0)
        svg = pictures.rows([images, changed], f"Below, as training sees them: {augmentation.ranges(value)}")
    st.image(svg, pictures.alt(svg), width="stretch", alt=f"{KNOBS[name].label} {value:g}")


def _network() -> str:
    """Return the blocks of the network with the current settings as SVG; fine-tuned blocks are colored."""
    values = _values()
    alpha, size = values["alpha"], values["image_size"]
    trained = values["fine_tune_blocks"] if values["fine_tune_epochs"] else 0
    shapes = architecture.block_shapes(alpha, size)
    return pictures.blocks(
        shapes, range(len(shapes) - trained, len(shapes)), label=f" at width α {alpha:g} and {size} px"
    )


def all_settings() -> None:
    """Draw an expander with all other settings; closed, their values are those of the URL."""
    guarded.panel("All settings", "tune", _groups, key="all_settings")


def _groups() -> None:
    """Draw the settings in groups."""
    values = _values()
    st.caption("The address of this page holds every setting that differs from Quick: copy it to share them.")
    for place, titles in zip(st.columns(len(_COLUMNS), gap="medium"), _COLUMNS, strict=True):
        with place:
            for title in titles:
                st.markdown(f"**{title}**")
                for knob in KNOBS.values():
                    if knob.group == title and knob.name not in MAIN:
                        _widget(knob, values[knob.name])


def configuration() -> TrainConfig:
    """Return the configuration that the widgets define. Raises ConfigError."""
    return TrainConfig(**_values())


def set_all(config: TrainConfig) -> None:
    """Set all settings to those of `config`, also in the URL. Call it before the widgets are drawn."""
    others: dict[str, Any] = {word: st.query_params.get_all(word) for word in st.query_params if word not in KNOBS}
    st.session_state.update(vars(config))
    st.query_params.from_dict(others | link(config))  # one update: one entry in the browser's history


def share_link(config: TrainConfig) -> None:
    """Draw the URL that opens *Train* with the settings of `config`."""
    with st.popover("Link to these settings", icon=":material/link:", type="tertiary", key="share_link"):
        base = (st.context.url or "http://localhost:8501").partition("?")[0]
        changed = urlencode(link(config))
        st.code(f"{base.rstrip('/')}/?{changed}" if changed else base, language=None, wrap_lines=True)
        if re.match(r"https?://(localhost|127\.|\[::1\])", base):
            st.caption(
                "This address works on this computer only. For others, host the app, or send the part after the "
                "question mark, which works after the address of any other copy of the app."
            )


def link(config: TrainConfig) -> dict[str, str]:
    """Return the query that opens *Train* with the settings of `config`."""
    return {name: _text(name, value) for name, (value, _) in config.differences(USUAL).items()}


def open_train(config: TrainConfig) -> None:
    """Open *Train* with the settings of `config`, also from *Train* itself."""
    st.session_state["settings_of"] = config
    st.switch_page("pages/train.py", query_params=link(config))


def as_in_address(config: TrainConfig) -> TrainConfig:
    """Return `config` with the valid settings in the URL, and say which are invalid. Raises ConfigError."""
    values, problems = in_address()
    for problem in problems:
        address.notice(problem)
    return replace(config, **values)


def log_steps(knob: Knob, *extra: Any) -> list[Any]:
    """Return 1, 2, 5 times each power of ten in the knob's range (units: powers of two), its ends and `extra`."""
    low, high, kind = knob.low or 0, knob.high or 0, type(knob.default)
    smallest = low or high / 1e4
    if knob.unit == "units":
        steps: Iterable[float] = [2**i for i in range(int(math.log2(low)), int(math.log2(high)) + 1)]
    else:
        powers = range(math.floor(math.log10(smallest)), math.ceil(math.log10(high)) + 1)
        steps = [float(f"{digit}e{power}") for power in powers for digit in (1, 2, 5)]
    inside = {kind(step) for step in steps if smallest <= step <= high}
    return sorted(inside | {kind(low), kind(high), *extra})


def _widget(knob: Knob, first: Any) -> Any:
    """Draw the widget of a setting with the default `first`, store its value in the URL, and return it."""
    value = widget(knob, first)
    address.link(knob.name, _text(knob.name, value), _text(knob.name, getattr(USUAL, knob.name)))
    return value


def widget(knob: Knob, first: Any, **look: Any) -> Any:
    """Draw the widget of a setting with the default `first`, and return its value."""
    kind, label = type(knob.default), knob.title
    look = {"key": knob.name, "help": help_of(knob)} | look
    if knob.log or knob.name == "alpha":
        steps = list(knob.choices) or log_steps(knob, first, *(getattr(one, knob.name) for one in PRESETS.values()))
        return st.select_slider(label, steps, first, format_func=_plain, **look)
    if knob.choices:
        to_text = knob.format if knob.labels else _plain
        return st.selectbox(label, list(knob.choices), knob.choices.index(first), format_func=to_text, **look)
    if knob.pattern:
        finished = (row for row in listing.rows() if row.state == "finished")
        titles = {**knob.labels, **run_picker.run_titles(run_picker.own(finished))}
        titles.setdefault(first, first)
        return st.selectbox(label, list(titles), list(titles).index(first), format_func=titles.__getitem__, **look)
    if knob.name == "seed":
        return st.number_input(label, int(knob.low or 0), int(knob.high or 0), first, step=1, **look)
    return st.slider(label, kind(knob.low), kind(knob.high), first, step=kind(knob.step), **look)


def _plain(value: Any) -> str:
    short = f"{value:g}" if isinstance(value, float) else ""
    return short if short and float(short) == value else str(value)


def _text(name: str, value: Any) -> str:
    """Return a value as text for the URL; a choice by its label."""
    knob = KNOBS[name]
    return knob.format(value) if knob.choices and knob.labels else _plain(value)


def _parsed(name: str, text: str) -> Any:
    """Return the value of the URL's `text`. Raises ConfigError."""
    knob = KNOBS[name]
    text = text.replace("generated images", "synthetic images")  # in URLs of older versions
    named = {_text(name, value): value for value in knob.choices}
    return named[text] if text in named else knob.parse(text)


def in_address() -> tuple[dict[str, Any], list[str]]:
    """Return the valid settings in the URL, and a sentence for each invalid one."""
    values, problems = {}, []
    for name in KNOBS:
        if name in st.query_params:
            try:
                values[name] = _parsed(name, st.query_params[name])
            except ConfigError as error:
                problems.append(str(error))
    return values, problems


def help_of(knob: Knob) -> str:
    """Return the help of a setting as Markdown, with the terms in its label explained."""
    text = knob.help
    if knob.mistakes:
        text += " A deliberate mistake: " + ", ".join(knob.format(choice) for choice in knob.mistakes) + "."
    return "\n\n".join(filter(None, (formatting.plain(text), glossary.explain(knob.label))))


def _values() -> dict[str, Any]:
    """Return the value of each setting's widget, or before it is drawn that of the URL, or that of Quick."""
    values = vars(USUAL) | in_address()[0]
    return {name: st.session_state.get(name, value) for name, value in values.items()}
