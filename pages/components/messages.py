"""Text that is safe in markdown, errors, and which images the app uses."""

from __future__ import annotations

import streamlit as st

from cifar_core.data import cifar10
from cifar_core.errors import CifarError
from cifar_core.untrusted import shown_name

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
