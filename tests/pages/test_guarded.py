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
    if not st.session_state.get("interrupted"):
        guarded.drawn()


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


def test_clicks_count_again_only_once_the_page_is_drawn_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A click that arrives while the page is being drawn interrupts the drawing, however long that takes."""
    monkeypatch.setattr(guarded, "DOUBLE_CLICK_SECONDS", 0)
    page = AppTest.from_function(app, default_timeout=60)
    page.session_state["interrupted"] = True
    page.run()
    for _ in range(5):
        page.button(key="start").click().run()
    assert page.session_state["started"] == 1
    page.session_state["interrupted"] = False
    page.run()
    page.button(key="start").click().run()
    assert page.session_state["started"] == 2
