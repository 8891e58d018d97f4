"""A button acts once, however often it is clicked before the browser shows the page drawn anew."""

import pytest
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Button

from pages.components import guarded


def app() -> None:
    import streamlit as st

    from cifar_core.errors import RunError
    from pages.components import guarded

    def start() -> None:
        st.session_state["started"] = st.session_state.get("started", 0) + 1

    def refuse() -> None:
        start()
        raise RunError("There is no room.")

    def delete(name: str) -> None:
        st.session_state["deleted"] = name

    def draw() -> None:
        if st.session_state.pop("interrupts", False):
            st.rerun()  # as another click does
        if not st.session_state.get("elsewhere"):
            guarded.button("Start", start, key="start", busy="Starting")
            guarded.button("Other", start, key="other")
            guarded.button("Refused", refuse, key="refused")
            guarded.button("Delete", delete, st.session_state.get("selected", "first"), key="delete")

    guarded.page(draw)


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setattr(guarded, "app_runs", True)
    return AppTest.from_function(app, default_timeout=60).run()


def shown(page: AppTest, label: str) -> Button:
    return next(button for button in page.button if button.label == label)


def click_again(page: AppTest, button: Button) -> None:
    """Send what a browser sends that has not drawn the page anew."""
    states = page._tree.get_widget_states()
    state = states.widgets.add()
    state.id, state.trigger_value = button.id, True
    page._run(states)


def test_a_drawn_button_acts_once(page: AppTest) -> None:
    first = shown(page, "Start")
    first.click().run()
    for _ in range(4):
        click_again(page, first)
    assert page.session_state["started"] == 1
    shown(page, "Other").click().run()
    shown(page, "Start").click().run()
    assert page.session_state["started"] == 3


def test_a_refused_action_leaves_its_button_as_it_is(page: AppTest) -> None:
    first = shown(page, "Refused")
    first.click().run()
    assert "no room" in page.error[0].value
    click_again(page, first)
    assert page.session_state["started"] == 2


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_click_counts_although_another_one_interrupts_the_script(page: AppTest, elsewhere: bool) -> None:
    page.session_state["interrupts"], page.session_state["elsewhere"] = True, elsewhere
    shown(page, "Start").click().run()
    assert page.session_state["started"] == 1
    page.run()
    assert page.session_state["started"] == 1


def test_an_interrupted_click_acts_on_what_the_user_saw(page: AppTest) -> None:
    page.session_state["interrupts"], page.session_state["selected"] = True, "second"
    shown(page, "Delete").click().run()
    assert page.session_state["deleted"] == "first"


def test_the_error_of_an_interrupted_click_is_shown_although_its_button_is_gone(page: AppTest) -> None:
    page.session_state["interrupts"], page.session_state["elsewhere"] = True, True
    shown(page, "Refused").click().run()
    assert (page.session_state["started"], "no room" in page.error[0].value) == (1, True)
