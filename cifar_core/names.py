"""A stranger's file name as text that can be shown: short, one line, nothing invisible."""

from __future__ import annotations

import unicodedata


def shown_name(name: str, limit: int = 60) -> str:
    """Return `name` without control, direction and other invisible characters, at most `limit` long.

    It is text, never markup: a page still escapes it where it would be rendered.
    """
    text = one_line(name) or "the file"
    half = (limit - 1) // 2
    return text if len(text) <= limit else f"{text[: limit - 1 - half]}…{text[-half:]}"


def one_line(text: str) -> str:
    """Return `text` as one line without control, direction and other invisible characters."""
    visible = "".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in text)
    return " ".join(visible.split())


def quoted(name: str) -> str:
    """Return `name` as a message shows it, in quotation marks."""
    return f'"{shown_name(name)}"'
