"""What the theme cannot set."""

from __future__ import annotations

import streamlit as st


def apply() -> None:
    """Set what the theme cannot: the width of the page, and columns (in containers keyed wide…) that stack early."""
    st.html(
        "<style>.block-container{padding-top:4.4rem;max-width:1480px}"
        "[data-testid=stImage] img{border-radius:4px}"
        "[class*=st-key-wide] [data-testid=stHorizontalBlock],"
        "[class*=st-key-cards] [data-testid=stHorizontalBlock]{flex-wrap:wrap}"
        "[class*=st-key-wide] [data-testid=stColumn]{min-width:min(100%,340px)}"
        "[class*=st-key-cards] [data-testid=stColumn]{min-width:132px}"
        f".stApp{{--ground:{_colours('backgroundColor')};--line:{_colours('borderColor')}}}"
        ":has(>.st-key-ten),:has(>.st-key-opened_trial)"  # a block's wrapper, within which it could not stick
        "{position:sticky;top:3.75rem;z-index:20;background:var(--ground)}"
        ".ten{display:flex;gap:.5rem;justify-content:space-between;overflow-x:auto;padding:.35rem 0 .2rem;"
        "border-bottom:1px solid var(--line)}"
        ".ten figure{margin:0;text-align:center;flex:1 0 3.4rem}"
        ".ten img{width:36px;height:36px;border-radius:4px;image-rendering:pixelated}"
        ".ten figcaption{font-size:.74rem;opacity:.8;line-height:1.1}"
        "[class*=st-key-gallery] p,[class*=st-key-neighbours] p{margin-bottom:0;line-height:1.35}"
        "[class*=st-key-gallery] [data-testid=stMarkdownContainer],"
        "[class*=st-key-neighbours] [data-testid=stMarkdownContainer]{margin-bottom:0}"
        "[class*=st-key-gallery] [data-testid=stVerticalBlock]{gap:.2rem}"
        ".st-key-runs_list [data-testid=stElementToolbar],"  # their CSV would not be inert
        ".st-key-differences [data-testid=stElementToolbar],"
        ".st-key-runs_robust [data-testid=stElementToolbar]{display:none}"
        ".strip{display:flex;gap:.4rem;overflow-x:auto;padding-bottom:.4rem}"
        ".strip figure{margin:0;text-align:center;flex:1 0 68px;max-width:128px}"
        ".strip img{width:100%;aspect-ratio:1;border-radius:4px;image-rendering:pixelated}"
        ".strip figcaption{font-size:.78rem;line-height:1.35}.strip .changed{color:light-dark(#a85a00,#f0a04b)}"
        ".st-key-scroll_watch{overflow-x:auto}.st-key-scroll_watch>*{min-width:760px}"
        "[data-testid=stSidebar] [data-testid=stButtonGroup] button{padding:.25rem .55rem}"
        "[data-testid=stMetricValue]{font-variant-numeric:tabular-nums}</style>"
    )


def _colours(option: str) -> str:
    """Return a colour of both themes as CSS, which has no other way to them."""
    return f"light-dark({st.get_option(f'theme.light.{option}')},{st.get_option(f'theme.dark.{option}')})"


def without_sidebar() -> None:
    """Hide the sidebar of the page before, which Streamlit would leave standing empty."""
    st.html("<style>[data-testid=stSidebar],[data-testid=stExpandSidebarButton]{display:none}</style>")
