"""Notice that the page uses synthetic images instead of CIFAR-10, and the download of CIFAR-10."""

from typing import Any

import streamlit as st

from cifar_core.config import TrainConfig
from cifar_core.data import batch_files, cifar10, download
from cifar_core.jobs import Job
from pages.components import formatting, guarded


def show(
    status: dict[str, Any], uses_generated: bool, what: str = "what you train here", offers_download: bool = True
) -> None:
    """Show a notice if images are synthetic; if CIFAR-10 is missing, also show or offer its download.

    `uses_generated` is whether the page uses synthetic images although CIFAR-10 is available; `what` names what uses
    them if it is missing.
    """
    place = st.container()  # always drawn, so that the page below stays
    if status["error"]:
        place.error(formatting.plain(status["error"]), icon=":material/error:")
    missing = status["dataset"] == "generated"
    if not missing and not uses_generated:
        return
    with place.container(border=True):
        reason = f"CIFAR-10 is not on this machine: {what}" if missing else "What you see or have chosen"
        st.markdown(
            f":material/draw: **Synthetic images, not CIFAR-10.** {reason} uses pictures drawn by the app. Their "
            "accuracy does not apply to CIFAR-10."
        )
        if missing:
            guarded.polled(_download, lambda: cifar10.status()["download"]["running"])(offers_download)


def can_download(status: dict[str, Any]) -> bool:
    """Return whether CIFAR-10 is missing and its server can be reached."""
    return status["dataset"] == "generated" and not status["error"] and download.answers(cifar10.URL)


def start_download(then: tuple[TrainConfig, str] | None = None) -> None:
    """Start the download; `then` is the configuration and name of the run to start afterwards. Raises CifarError."""
    command = ("cifar_core", "data", "download", "--json")
    advice = "free disk space there, or set CIFAR_CACHE_DIR"
    Job(cifar10.cache_dir(), batch_files.BINARY_ARCHIVE, command, "The download of CIFAR-10", advice).start()
    st.session_state["after_download"] = then


def finished_download(status: dict[str, Any]) -> tuple[TrainConfig, str] | None:
    """Return the `then` of `start_download` once, after a successful download; else None."""
    if status["download"]["running"]:
        return None
    waiting = st.session_state.pop("after_download", None)
    return waiting if status["dataset"] == "cifar10" else None


def _download(offers: bool) -> None:
    """Show the progress of the download, or its button if `offers` is true."""
    state = cifar10.status()["download"]
    if state["running"]:
        done, total = state["bytes"], state["total"]
        then = "; then the training starts" if st.session_state.get("after_download") else ""
        st.progress(min(done / total, 1.0), f"Downloading CIFAR-10: {done / 1e6:.0f} of {total / 1e6:.0f} MB{then}")
        return
    if offers:
        look: dict[str, Any] = {"icon": ":material/download:", "busy": "Starting"}
        guarded.button("Download CIFAR-10 (170 MB)", start_download, key="download", **look)
    if state["error"]:
        guarded.problem(state["error"])


def no_pictures() -> str:
    """Return why the images of a run cannot be shown: the error of CIFAR-10, or that it is missing."""
    error = cifar10.status()["error"]
    return formatting.plain(error) if error else "they are not on this machine."
