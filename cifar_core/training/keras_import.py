"""Keras, imported without pandas and scikit-learn.

Keras imports both if they are installed, for a third of the whole import's time; only its wrappers for them need them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def _hidden(*names: str) -> Iterator[None]:
    """Let the import of these packages fail in this process, unless they are imported already."""
    names = tuple(name for name in names if name not in sys.modules)
    sys.modules.update(dict.fromkeys(names))  # type: ignore[arg-type]  # None: Python then raises ImportError
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]


with _hidden("pandas", "sklearn"):
    import keras

__all__ = ["keras"]
