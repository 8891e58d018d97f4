"""Text that is safe in markdown, errors, and which images the app uses."""

from __future__ import annotations

from typing import Any

import streamlit as st

from cifar_core.data import cifar10
from cifar_core.errors import CifarError
from cifar_core.jobs import launch
from cifar_core.untrusted import shown_name
from pages.components import guarded

_MARKDOWN = str.maketrans({character: "\\" + character for character in "\\`*_{}[]<>()#+-.!|~$&"} | {":": "\\:\u2060"})


def plain(text: object) -> str:
    """Return `text` with every markdown sign escaped, for places that render markdown.

    An icon (`:material/x:`) or emoji is looked for behind the escapes, so an invisible joiner follows each colon.
    """
    return str(text).translate(_MARKDOWN)


def file_name(name: str) -> str:
    """Return a file's name as pages show it: at most 60 characters, as text."""
    return plain(shown_name(name))


def problem(error: CifarError) -> None:
    """Show what went wrong, as text."""
    st.error(plain(error), icon=":material/error:")


def no_pictures() -> str:
    """Return why the images of a run cannot be shown, as text: what is wrong with CIFAR-10, or that it is not here."""
    error = cifar10.status()["error"]
    return plain(error) if error else "they are not on this machine (an import, or a moved data set)."


def dataset_notice(status: dict[str, Any], uses_generated: bool, what: str = "everything here") -> None:
    """Say loudly where images are not CIFAR-10, and offer to download them where they are not on this machine.

    `uses_generated` is whether what the page shows rests on generated images though CIFAR-10 is here, `what` is what
    rests on them where it is not.
    """
    if status["error"]:
        st.error(plain(status["error"]), icon=":material/error:")
    missing = status["dataset"] == "generated"
    if not missing and not uses_generated:
        return
    with st.container(border=True):
        reason = f"CIFAR-10 is not on this machine, so {what}" if missing else "What you see or have chosen"
        st.markdown(
            f":material/draw: **Generated images, not CIFAR-10.** {reason} uses ten classes of pictures that the app "
            "draws itself. Figures on them say nothing about CIFAR-10."
        )
        if missing:
            running = status["download"]["running"]
            guarded.fragment(_download, run_every=1.0 if running else None)()


def _download() -> None:
    """Show the download's button, or how far it is. Runs by itself while it goes on."""
    download = cifar10.status()["download"]
    if download["running"]:
        done, total = download["bytes"], download["total"]
        st.progress(min(done / total, 1.0), f"Downloading CIFAR-10: {done / 1e6:.0f} of {total / 1e6:.0f} MB")
        if not st.session_state.get("downloading"):
            st.session_state["downloading"] = True
            st.rerun()  # from now on it runs by itself
    elif st.session_state.pop("downloading", False):
        st.rerun()
    else:
        st.button("Download CIFAR-10 (170 MB)", icon=":material/download:", on_click=_start_download)
        problem = st.session_state.get("download_error") or download["error"]
        if problem:
            st.error(plain(problem), icon=":material/error:")


def _start_download() -> None:
    try:
        launch.download_cifar10()
        st.session_state.pop("download_error", None)
    except CifarError as error:
        st.session_state["download_error"] = str(error)
