"""The login, where the owner asks for one."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

SECRETS = Path(__file__).resolve().parents[2] / ".streamlit" / "secrets.toml"


def admit() -> None:
    """Let nobody past who has not logged in, where secrets.toml asks for a login (docs/hosting.md).

    A file that asks for none that Streamlit understands is a mistake, which must not open the door.
    """
    is_logged_in = st.user.get("is_logged_in")
    if is_logged_in or (is_logged_in is None and not SECRETS.exists()):
        return
    if is_logged_in is None:
        st.error(f"{SECRETS.name} has no [auth] that can be read, expected a login; mend it, or delete the file.")
    else:
        st.title("CIFAR Studio")
        st.button("Log in", type="primary", icon=":material/login:", key="login", on_click=st.login)
    st.stop()
