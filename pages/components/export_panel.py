"""Export of a finished run as files, and import of a run archive. Shown on Train and Evaluate."""

from collections.abc import Iterable
from typing import Any

import streamlit as st

from cifar_core import glossary
from cifar_core.errors import CifarError
from cifar_core.export import archive, exports
from cifar_core.export.exports import FORMATS, MODELS, Format
from cifar_core.inference import pins
from cifar_core.runs import Run
from pages.components import formatting, guarded, uploads

_ICONS = {
    "notebook": ":material/article:",
    "script": ":material/code:",
    "zip": ":material/folder_zip:",
    "html": ":material/language:",
    "report": ":material/lab_profile:",
    "card": ":material/image:",
    "animation": ":material/gif_box:",
}


def export_panel(run: Run) -> None:
    """Draw all export formats of a finished run."""
    guarded.panel("Export", "ios_share", _formats, run, key="export_panel")


def _formats(run: Run) -> None:
    """Draw the cards of the model files, and the buttons of the other formats."""
    guarded.polled(_models, lambda: any(exports.job(run, name).is_running for name in MODELS))(run)
    st.caption(
        "Each file takes images of 32×32 pixels without preprocessing, and is tested on 200 test images when it is "
        "created. Agreement: how often it predicts the same class as the run. Time: for one image on this machine."
    )
    st.markdown("**The run itself**")
    with st.container(horizontal=True):
        for name, item in FORMATS.items():
            if name not in MODELS:
                reason = _why_not(run, name)
                about = formatting.plain(reason) if reason else item.help
                icon = _ICONS.get(name, ":material/download:")
                _download(run, name, item.label, icon, help=about, disabled=bool(reason))


def share_buttons(run: Run) -> None:
    """Draw download buttons for a picture of a finished run and, if it has pins, their animation."""
    for name, label in (("card", "Picture"), ("animation", "Animation")):
        if _why_not(run, name) is None:
            about = f"{FORMATS[name].label}: {FORMATS[name].help}"
            _download(run, name, label, ":material/share:", key=f"share_{name}", help=about, type="tertiary")


def import_panel() -> None:
    """Draw the upload of run archives."""
    guarded.panel("Import a run", "upload", _archives, key="import_panel")


def _archives() -> None:
    words = "ZIP files exported by CIFAR Studio (*Whole run*)"
    uploads.uploaded(words, "run_archive", _import_archives, type=["zip"])


def _models(run: Run) -> None:
    """Draw a card for each model file."""
    with st.grid(len(MODELS), min_column_width=220):
        for item in MODELS.values():
            with st.container(border=True):
                _model(run, item)


def _model(run: Run, item: Format) -> None:
    """Draw the state of a model file, and its buttons."""
    status = exports.state(run, item.name)
    st.markdown(f"**{item.label}**", help=f"{item.help}\n\n{glossary.explain(item.label) or ''}")
    if status["state"] != "done":
        if status["state"] == "failed":
            guarded.problem(status["error"])
        is_working = status["state"] == "working"
        if is_working:
            st.progress(min(status["done"] / max(status["total"], 1), 1.0))
        look: dict[str, Any] = {"icon": ":material/build:", "disabled": is_working}
        guarded.button("Create", exports.start, run, item.name, key=f"make_{item.name}", busy="Starting", **look)
        return
    color = "red" if status["poor"] else "green"
    st.markdown(
        f"{status['bytes'] / 1e6:.1f} MB · {status['latency_ms']:.1f} ms  \n"
        f":{color}[**{status['agreement']:.1%}**] agreement",
        help=f"With {status['against']}.",
    )
    if status["poor"]:
        least = item.least_agreement or 0
        st.error(
            f"This {item.label} file agrees with the run on {status['agreement']:.1%} of {status['images']} test "
            f"images, below {least:.0%}: do not rely on it.",
            icon=":material/error:",
        )
    with st.container(horizontal=True):
        _download(run, item.name, "Download", ":material/download:")
        with st.popover("Use it", type="tertiary", icon=":material/code:", key=f"usage_{item.name}"):
            st.code(exports.usage(run, item.name), language="python")
            st.caption(f"Tried with {item.tried}.")


def _why_not(run: Run, name: str) -> str | None:
    """Return why a run cannot be exported in the format `name`, or None if it can."""
    try:
        run.config  # noqa: B018 - raises if it is damaged
    except CifarError as error:
        return None if name in ("csv", "tensorboard") else str(error)
    if name == "animation" and not any(len(one.epochs) for one in pins.watch(run).watched):
        return "The run watched no pictures."
    if name in ("animation", "card") and guarded.is_anothers(run.path):
        return "It shows pictures of another person."
    missing = archive.missing(run) if name == "zip" else None
    return f"The run has no {missing}." if missing else None


def _download(run: Run, name: str, label: str, icon: str, **look: Any) -> None:
    """Draw a download button of the format `name`; the file is read or written on click."""
    look = {"key": f"download_{name}", "icon": icon, "on_click": "ignore"} | look
    st.download_button(label, lambda: exports.content(run, name), exports.file_name(run, name), **look)


def _import_archives(files: Iterable[tuple[str, bytes]]) -> None:
    for _, content in files:
        run = archive.import_run(content)
        guarded.own(run.path)
        st.query_params["run"] = run.id
