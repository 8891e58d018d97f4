"""The app's CSS, for what the theme cannot set, and its wordmark."""

import re
from functools import cache

import streamlit as st

from cifar_core.charts import style as chart_style
from pages.components.formatting import FRONTEND

_WORDMARK = (  # its blue has a contrast of 3:1 on both themes, as large text needs
    '<svg xmlns="http://www.w3.org/2000/svg" width="192" height="32" viewBox="0 0 192 32">'
    + "".join(
        f'<rect x="{10 * (place % 3)}" y="{1 + 10 * (place // 3)}" width="9" height="9" rx="2" fill="{color}"/>'
        for place, color in enumerate(chart_style.CLASS_COLORS[:9])
    )
    + '<text x="38" y="22" font-family="system-ui,sans-serif" font-size="19" font-weight="700" '
    f'fill="{chart_style.TRAINING}">CIFAR Studio</text></svg>'
)


def apply(page: str) -> None:
    """Add the app's wordmark and CSS, and close the menu on a phone after the user has opened another `page`."""
    st.logo(_WORDMARK, size="large")
    menu, button = "[data-testid=stSidebar]", "[data-testid=stSidebarCollapseButton] button"
    with st.container(key="head", height=1, border=False):  # of one height before and after its content has come
        # not by st.html, whose code the browser loads later
        st.markdown(f"<style>.stApp{{{_variables()}}}{_css()}</style>", unsafe_allow_html=True)
        st.html(
            f"<script>/* {page} */ if (innerWidth < 768 && document.querySelector('{menu}')"
            f"?.getBoundingClientRect().left > -9) document.querySelector('{button}')?.click()</script>",
            unsafe_allow_javascript=True,
        )


def mark(key: str) -> None:
    """Draw the button with this `key` as selected."""
    st.html(
        f"<style>.st-key-{key} button{{border:2px solid var(--accent);"
        "background:color-mix(in srgb,var(--accent) 12%,transparent)}</style>"
    )


@cache
def _css() -> str:
    """Return streamlit.css and style.css without comments and line breaks."""
    text = "".join((FRONTEND / name).read_text("utf-8") for name in ("streamlit.css", "style.css"))
    return re.sub(r"/\*.*?\*/|\n\s*", "", text, flags=re.DOTALL)


def _variables() -> str:
    """Return the CSS variables of the app's colors. Streamlit has none for its theme."""
    options = {"line": "borderColor", "accent": "primaryColor", "page": "backgroundColor"}
    colors = {
        name: f"light-dark({st.get_option(f'theme.light.{option}')},{st.get_option(f'theme.dark.{option}')})"
        for name, option in options.items()
    }
    colors |= {"right": chart_style.RIGHT, "wrong": chart_style.WRONG}
    return ";".join(f"--{name}:{color}" for name, color in colors.items())
