"""A start button acts once, however often it is clicked before the page is drawn anew."""

import pytest
from streamlit.testing.v1 import AppTest

from pages.components import guarded


def app() -> None:
    import streamlit as st

    from pages.components import guarded

    def start() -> None:
        st.session_state["started"] = st.session_state.get("started", 0) + 1

    st.button("Start", key="start", on_click=guarded.once, args=("start", start))
    st.button("Other", key="other", on_click=guarded.once, args=("other", start))


def test_a_double_click_starts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded, "DOUBLE_CLICK_SECONDS", 600)
    page = AppTest.from_function(app, default_timeout=60).run()
    for _ in range(5):
        page.button(key="start").click().run()
    assert page.session_state["started"] == 1
    page.button(key="other").click().run()
    assert page.session_state["started"] == 2


def test_a_later_click_starts_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded, "DOUBLE_CLICK_SECONDS", 0)
    page = AppTest.from_function(app, default_timeout=60).run()
    for _ in range(2):
        page.button(key="start").click().run()
    assert page.session_state["started"] == 2
