"""Who may see the app where its owner asks for a login."""

from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from pages.components import guarded

APP = Path(__file__).resolve().parents[2] / "app.py"


def opened() -> AppTest:
    return AppTest.from_file(str(APP), default_timeout=60).run()


def test_who_has_not_logged_in_sees_a_button_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(st, "user", {"is_logged_in": False})  # as Streamlit has it where secrets.toml has [auth]
    app = opened()
    assert [button.label for button in app.button] == ["Log in"]
    assert not [*app.caption, *app.selectbox, *app.error, *app.slider]


def test_who_has_logged_in_sees_the_app(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(st, "user", {"is_logged_in": True})
    assert "Start training" in [button.label for button in opened().button]


def test_without_secrets_nobody_has_to_log_in() -> None:
    assert "Start training" in [button.label for button in opened().button]


def test_secrets_that_cannot_be_understood_open_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secrets.toml").write_text("[oauth]\nclient_id = ")
    monkeypatch.setattr(guarded, "SECRETS", tmp_path / "secrets.toml")
    app = opened()
    assert "has no [auth] that can be read" in app.error[0].value
    assert not app.button
