"""CIFAR Studio: `streamlit run app.py`."""

import sys

import streamlit as st

import cifar_core  # noqa: F401 - before NumPy, which pages import
from pages.components import address, guarded, style

sys.setswitchinterval(0.001)  # at Python's 5 ms a click waits for busy sessions at each file access
st.set_page_config(page_icon="🐸", layout="wide")  # else the browser loads the icon of the page from a server
logout = [st.Page(st.logout, title="Log out", icon=":material/logout:")] if st.user.get("is_logged_in") else []
page = st.navigation(
    [
        st.Page("pages/train.py", title="Train", icon=":material/model_training:", default=True),
        st.Page("pages/classify.py", title="Classify", icon=":material/image_search:"),
        st.Page("pages/teach.py", title="Teach", icon=":material/pan_tool:"),
        st.Page("pages/explore.py", title="Explore", icon=":material/explore:"),
        st.Page("pages/evaluate.py", title="Evaluate", icon=":material/fact_check:"),
        st.Page("pages/learn.py", title="Learn", icon=":material/school:"),
        *logout,
    ],
    position="top",
)
st.set_page_config(page_title=f"{page.title} · CIFAR Studio")
style.apply(page.url_path)
guarded.require_login()
address.forget_other_page(page.url_path)
guarded.app_runs = True
st.fragment(lambda: None, run_every=3600)()  # any fragment makes the browser rerun the page after a server restart
page.run()
