"""Explore, Head lab: moving a slider trains only the head again."""

from typing import Any

import numpy as np
import streamlit as st

from cifar_core import glossary
from cifar_core.charts import search as search_charts
from cifar_core.config import KNOBS
from cifar_core.data import cifar10
from cifar_core.errors import ConfigError
from cifar_core.search import head_lab
from cifar_core.search.head_lab import BASE, SLIDERS, Result, Settings
from pages.components import address, dataset_notice, formatting, guarded, knobs, live_chart
from pages.components.live_chart import Chart

_POLL_SECONDS = 0.25
_MOST_TRIED = 10
_ABOUT_MAP = (
    "Each mark is a validation image in the color of its predicted class: dots are correct, crosses wrong. Near marks "
    "have similar features (PCA, LDA, t-SNE); the background shows the class of the nearest images."
)
_STATES = {
    "starting": "Starting TensorFlow, once; later curves take seconds",
    "preparing": "Computing the feature cache, once",
    "waiting": "Waiting for the current run",
    "ready": "Ready",
    "computing": "Training the head",
    "mapping": "Drawing the map, once",
}


def show() -> None:
    """Draw the section."""
    formatting.text(
        "Only the small **head** trains here, on stored features, so that each change takes seconds. "
        "Move one slider at a time, *Head learning rate* first."
    )
    with st.container(key="lab_sliders"), st.grid(len(SLIDERS), min_column_width=150):
        settings = Settings(**{name: _slider(name) for name in SLIDERS})
    status = cifar10.status()
    dataset_notice.show(status, False)
    if status["error"]:
        st.caption("The head lab needs the training images.")
        return
    head_lab.start()
    result = head_lab.result(settings)
    if result is None or (result.state != "done" and not _is_under_way(settings)):
        head_lab.request(settings)
    earlier = _tried(settings)
    guarded.polled(_panel, lambda: not _is_settled(settings), _POLL_SECONDS)(settings, earlier)


def _is_settled(settings: Settings) -> bool:
    """Return whether the result is final: the curve is done, and the map is made or the lab is closed."""
    result = head_lab.result(settings)
    has_ended = result is not None and result.state in ("done", "failed")
    return has_ended and (_has_map() or not head_lab.is_open())


def _slider(name: str) -> Any:
    """Draw the slider of a setting, linked to the URL; return its value."""
    knob, key, usual = KNOBS[name], f"lab_{name}", getattr(BASE, name)
    if key not in st.session_state or address.is_history():
        st.session_state[key] = _asked(name, usual)
    value = knobs.widget(knob, st.session_state[key], key=key, persist_state="session")
    address.link(key, f"{value:g}", f"{usual:g}")
    return value


def _asked(name: str, usual: Any) -> Any:
    """Return the value in the URL, or `usual` if it is missing or invalid. Old URLs omit "lab_"."""
    value = st.query_params.get(f"lab_{name}") or st.query_params.get(name)
    try:
        return KNOBS[name].parse(value or str(usual))
    except ConfigError as error:
        address.notice(str(error))
        return usual


def _is_under_way(settings: Settings) -> bool:
    wanted = head_lab.requested()
    return wanted is not None and wanted[0] == settings and head_lab.status()["state"] != "ready"


def _tried(settings: Settings) -> list[Settings]:
    """Return the settings tried before these, oldest first; the URL stores them."""
    if "lab_tried" not in st.session_state:
        st.session_state["lab_tried"], odd = [], []
        for text in filter(None, st.query_params.get("tried", "").split(",")[-_MOST_TRIED:]):
            try:
                st.session_state["lab_tried"].append(Settings.parse(text))
            except ConfigError as error:
                odd.append(str(error))
        if odd:
            address.notice(odd[0])
    before = [other for other in st.session_state["lab_tried"] if other != settings]
    st.session_state["lab_tried"] = [*before, settings][-_MOST_TRIED:]
    earlier = st.session_state["lab_tried"][:-1]
    address.link("tried", ",".join(other.text for other in earlier), "")
    return earlier


def _panel(settings: Settings, earlier: list[Settings]) -> None:
    """Draw the results so far."""
    status, latest = head_lab.status(), head_lab.result(settings)
    tried = [(other, result) for other in earlier if (result := head_lab.result(other)) and result.rows]
    shown = latest if latest and latest.rows else head_lab.stored() if settings == Settings() else None
    with st.container():  # lines come and go; the charts below stay
        _say(status, latest)
        if shown is not latest and shown is not None:
            st.caption("Stored result on CIFAR-10 with ImageNet weights. A result of this machine replaces it.")
        _headline(settings, shown, tried)
    whole = latest if latest and latest.state == "done" else None  # drawing it per epoch takes longer than training
    mapped = whole or (tried[-1][1] if tried else latest)
    chart = _map_chart(head_lab.base_key(), _has_map(), tuple(mapped.predicted)) if mapped else None
    left, right = st.columns(2, gap="medium")
    words = [(other.differences(settings), result.rows) for other, result in tried]
    for metric, place in (("accuracy", left), ("cross_entropy", left if chart else right)):
        figure = search_charts.lab_curves(shown.rows if shown else [], words, metric, BASE.head_epochs)
        with place:
            live_chart.draw(figure, f"lab_{metric}", config=live_chart.NO_TOOLBAR)
    with right:
        if chart:
            live_chart.show(chart, "lab_map")
        formatting.caption(_ABOUT_MAP if chart else "A map of the validation images appears after your first curve.")
    _fixed_settings(status)
    _buttons(settings, earlier)


def _say(status: dict[str, Any], result: Result | None) -> None:
    """Show the state of the lab in one line."""
    state = status["state"]
    if state in ("off", "failed"):
        reason = status.get("message", "") if state == "failed" else "It closes after five minutes without use."
        with st.container(horizontal=True, vertical_alignment="center"):
            st.warning(f"The head lab is closed. {formatting.plain(reason)}", icon=":material/power_settings_new:")
            st.button("Open again", key="lab_again", on_click=st.rerun)
    elif result and result.state == "failed":
        st.warning(formatting.plain(result.message), icon=":material/warning:")
    elif result and result.state == "done":
        st.caption(f":material/check: Trained in {result.seconds:.1f} s.")
    elif result and result.state == "cancelled":
        st.caption(":material/pending: Canceled by another request. Move a slider to continue.")
    else:
        epoch = f", epoch {len(result.rows)} of {BASE.head_epochs}" if result and result.rows else ""
        words = f"{_STATES.get(state, state)}{epoch}"
        done, total = status.get("done"), status.get("total")
        if isinstance(done, int) and isinstance(total, int) and total > 0:
            st.progress(min(done / total, 1.0), f"{words}: {done:,} of {total:,} images")
        else:
            st.caption(f":material/hourglass_top: {words}.")


def _headline(settings: Settings, result: Result | None, tried: list[tuple[Settings, Result]]) -> None:
    """Show the validation accuracy, compared with the best of the earlier settings."""
    if result is None or result.accuracy is None:
        st.header("Move a slider to train a new head", help=glossary.TERMS["head"])
        return
    low, high = result.interval
    st.header(f"Validation accuracy {result.accuracy:.1%}", help=glossary.explain("validation accuracy"))
    best = max(tried, key=lambda item: item[1].accuracy or 0.0, default=None)
    if best is None or best[1].accuracy is None:
        st.caption(f"95% interval: {low:.1%} to {high:.1%}, on {len(result.predicted):,} images.")
    elif best[1].accuracy > result.accuracy:
        st.caption(f"Best so far: {best[1].accuracy:.1%}, with {formatting.plain(best[0].differences(settings))}.")
    else:
        st.caption(f"Best of {len(tried) + 1} settings so far; second best: {best[1].accuracy:.1%}.")


def _has_map() -> bool:
    return head_lab.map_path(head_lab.base_key()).exists()


@st.cache_resource(max_entries=64, show_spinner=False)
def _map_chart(base_key: str, is_made: bool, predicted: tuple[int, ...]) -> Chart | None:
    """Return the decision map with these predictions, shared by all sessions, or None if there is none."""
    places = head_lab.load_map(base_key) if is_made else None
    if places is None or len(predicted) != len(places.labels):
        return None
    return live_chart.chart(search_charts.decision_map(places, np.array(predicted)), config=live_chart.NO_TOOLBAR)


def _fixed_settings(status: dict[str, Any]) -> None:
    """Show the settings that are the same for all curves."""
    base = status.get("base")
    known = base if isinstance(base, dict) else {}
    counts = [known.get(name) for name in ("train_images", "validation_images")]
    learn, validate = (f"{number:,}" if isinstance(number, int) else "?" for number in counts)
    from_lab = (
        f" Initial weights: {formatting.plain(known.get('weights'))}. Images: "
        f"{formatting.images(known.get('images'))}, {learn} for training, {validate} for validation."
    )
    st.caption(
        f":material/lock: **Fixed:** MobileNetV2 α {BASE.alpha:g} at {BASE.image_size} px, frozen; "
        f"{BASE.head_epochs} epochs, batch size {BASE.head_batch_size}, Adam, seed {BASE.seed}; no augmentation. "
        f"Dropout, label smoothing and the L2 penalty apply in training only.{from_lab if known else ''}",
        help=glossary.explain("dropout, label smoothing, L2, augmentation, epoch"),
    )


def _buttons(settings: Settings, earlier: list[Settings]) -> None:
    with st.container(horizontal=True):
        if st.button("Train a whole run with this head", icon=":material/model_training:", key="lab_train"):
            knobs.open_train(settings.run_config)
        if earlier and st.button("Clear earlier curves", icon=":material/layers_clear:", key="lab_forget"):
            st.session_state["lab_tried"] = []
            st.rerun()  # the fragment has the curves as arguments: rerun the whole page
