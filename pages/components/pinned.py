"""Pins: pictures whose predictions are recorded during training. Set on *Classify* and *Train*, drawn on *Train*."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import streamlit as st

from cifar_core.charts import answers as answer_charts
from cifar_core.data import cifar10
from cifar_core.errors import CifarError
from cifar_core.evaluation import listing
from cifar_core.inference import pins
from cifar_core.inference.pins import Pin, Watched
from cifar_core.runs import LIVE_STATES, Run
from cifar_core.untrusted import shown_name
from pages.components import formatting, guarded, live_chart, run_picker, uploads
from pages.components.live_chart import Chart

_TEST_IMAGES = 200
_MOST_READ = 50  # files per upload; six pictures can be pinned


def chosen() -> list[Pin]:
    """Return the pins of the next run; by default those of a live run, else six test images."""
    if "pins" not in st.session_state:
        live = _live_run()
        with suppress(CifarError):  # no images: no pins
            st.session_state["pins"] = pins.load(live.path) if live else _test_pins(pins.MOST)
    return st.session_state.get("pins", [])


def pin_button(image: np.ndarray, name: str) -> None:
    """Draw a button that pins a network input, uint8 (32, 32, 3)."""
    pin = Pin(image, name)
    look: dict[str, Any] = {"icon": ":material/keep:", "type": "tertiary"}
    if any(other.key == pin.key for other in chosen()):
        _button("Pinned", "unpin", _remove, pin.key, **look)
    else:
        about = (
            "The next run, and one that is training now, records its predictions for this picture. It replaces "
            f"the oldest of {pins.MOST}."
        )
        _button("Pin it", "pin", _add, [pin], help=about, **look)


def _button(label: str, key: str, action: Callable[..., None], *arguments: Any, **look: Any) -> None:
    """Draw a button that changes the pins."""
    st.button(label, key=key, on_click=guarded.attempt, args=(action, *arguments), **look)


@guarded.fragment
def chooser() -> None:
    """Draw the pins of the next run, with buttons to change them."""
    count = len(chosen())
    counted = f"{count} picture{'s' * (count > 1)} pinned" if count else "pin pictures"
    with st.expander(f"Watch it learn: {counted}", icon=":material/keep:", key="pin_panel"):
        st.caption(
            "While the network learns, its predictions for these pictures are recorded and drawn. Replace them with "
            "your own, here or on Classify."
        )
        if count:
            with st.container(horizontal=True, key="pins"):
                for number, pin in enumerate(chosen()):
                    with st.container(width=84, gap=None):
                        st.image(formatting.enlarged(pin.image, 3), width=76, alt=pin.name)
                        look: dict[str, Any] = {"type": "tertiary", "help": formatting.plain(pin.name)}
                        _button("Unpin", f"off{number}", _remove, pin.key, **look)
        with st.container(horizontal=True, vertical_alignment="center"):
            look = {
                "disabled": count == pins.MOST,
                "help": "Fills the free places with test images of different classes.",
            }
            _button("Pin test images", "pin_random", _add_test_images, icon=":material/casino:", **look)
            if count:
                _button("Unpin all", "pin_none", _set, [], icon=":material/close:", type="tertiary")
        uploads.uploaded("Your own pictures", "pin_files", _take)
        uploads.show_errors(st.session_state.pop("pin_refused", []))


def panel(run: Run, state: str, planned: float) -> None:
    """Draw the predictions for the pins over the epochs: live, or afterwards with a slider."""
    live = state in LIVE_STATES
    if guarded.is_anothers(run.path):  # they may be private photos
        return
    if not pins.load(run.path):
        if live:
            look: dict[str, Any] = {"icon": ":material/keep:", "help": "Or pin your own: below, or on Classify."}
            _button("Watch it learn: pin test images", "pin_live", _add_test_images, **look)
        return
    chart, slides = _built(run, planned if live else 0.0, not live)
    if chart is None:
        return
    st.header("Watch it learn")
    with st.container(key=f"watch_rows{-(-len(pins.load(run.path)) // 3)}"):  # rows on a phone (see style)
        live_chart.show(chart, "watch")
    hint = "Drag the slider, or press Play, to go back through the epochs." if slides else "Each line is one class."
    formatting.caption(f"{hint} The purple part is fine-tuning, when the top of the backbone learns too.")


@st.cache_resource(max_entries=32, show_spinner=False, hash_funcs=run_picker.by_files(pins.FILE, pins.PROBES))
def _built(run: Run, planned: float, scrubs: bool) -> tuple[Chart | None, bool]:
    """Return the chart, None without pictures, and whether it has a slider."""
    watch = pins.watch(run)
    if not watch.watched:
        return None, False
    figure = answer_charts.watch_figure(watch, planned, scrubs)
    chart = live_chart.chart(figure, _words(watch.watched), run.id, config=live_chart.NO_TOOLBAR)
    return chart, bool(figure.frames)


def _words(watched: Sequence[Watched]) -> str:
    """Return the latest prediction for each picture as a sentence."""
    latest = [(one.pin.name, one.probabilities[-1]) for one in watched if len(one.epochs)]
    answers = [f"{name}: {cifar10.CLASSES[said.argmax()]} {formatting.share(said.max())}" for name, said in latest]
    return f"Ten probabilities of each pinned picture over the epochs. {', '.join(answers) or 'Nothing recorded yet'}."


def _set(pinned: list[Pin]) -> None:
    """Set the pins of the next run, and of a live run."""
    st.session_state["pins"] = pinned
    live = _live_run()
    if live:
        pins.save(live, pinned)


def _live_run() -> Run | None:
    """Return the user's own run that is training, not a queued one."""
    live = [row.run for row in listing.rows() if row.state in LIVE_STATES and not guarded.is_anothers(row.run.path)]
    return live[-1] if live else None


def _add(new: list[Pin]) -> None:
    pinned = chosen()
    for pin in new:
        pinned = pins.added(pinned, pin)
    _set(pinned)


def _remove(key: str) -> None:
    _set([pin for pin in chosen() if pin.key != key])


def _add_test_images() -> None:
    _add(_test_pins(pins.MOST - len(chosen())))


def _test_pins(count: int) -> list[Pin]:
    """Return `count` random test images, at most one of each class. Raises DataError if there are none."""
    images, labels = cifar10.samples(_TEST_IMAGES, test=True)
    rng = np.random.default_rng()
    order = rng.permutation(len(images))
    places = order[np.unique(labels[order], return_index=True)[1]]
    return [Pin(np.array(images[i]), cifar10.CLASSES[labels[i]]) for i in rng.permutation(places)[:count]]


def _take(files: Iterable[tuple[str, bytes]]) -> None:
    """Pin the pictures in `files` (name, bytes)."""
    taken, st.session_state["pin_refused"] = uploads.read(files, _MOST_READ)
    _add([Pin(one.network_input("centre"), shown_name(one.name)) for one in taken])
