"""The glossary: glossary.toml defines each term in one sentence."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

TERMS: Mapping[str, str] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))


def explain(text: str) -> str | None:
    """Return the terms in `text` with their definitions as Markdown, or None if it contains no term.

    Longer terms are matched first: "McNemar's test" does not match "test".
    """
    found = set()
    for term in sorted(TERMS, key=len, reverse=True):
        text, count = re.subn(rf"\b{re.escape(term)}s?\b", " ", text, flags=re.IGNORECASE)
        if count:
            found.add(term)
    return "\n\n".join(f"**{term}**: {TERMS[term]}" for term in TERMS if term in found) or None
