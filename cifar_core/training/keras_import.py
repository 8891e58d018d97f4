"""Keras, imported without pandas and scikit-learn.

Keras imports both if they are installed, for a third of the whole import's time; only its wrappers for them need them.
"""

import sys

_HIDDEN = [name for name in ("pandas", "sklearn") if name not in sys.modules]
sys.modules.update(dict.fromkeys(_HIDDEN))  # type: ignore[arg-type]  # None: Python then raises ImportError
try:
    import keras
finally:
    for _name in _HIDDEN:
        del sys.modules[_name]

__all__ = ["keras"]
