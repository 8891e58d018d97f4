"""What the tests in a real browser share: the program, and the marks of a whole file of such tests."""

import pytest

from cifar_core.bench_browser import find_chromium

CHROMIUM = find_chromium()
MARKS = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]
