"""Explore, Head lab: the head alone, retrained while you watch."""

from __future__ import annotations

import streamlit as st


def show() -> None:
    """Draw the section."""
    st.info("The head lab is being built.", icon=":material/construction:")
