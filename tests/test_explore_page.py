"""The Explore page in its states, without a browser."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

APP = Path(__file__).resolve().parent.parent / "app.py"


def open_explore(**query: str) -> AppTest:
    """Return Explore after its first run, as the address `query` asks."""
    app = AppTest.from_file(str(APP), default_timeout=30)
    app.run()
    app.switch_page("pages/explore.py")
    app.query_params.update(query)
    app.run()
    assert not app.exception, app.exception[0].message
    return app


def test_without_a_run_it_says_where_to_start_one() -> None:
    app = open_explore()
    assert app.segmented_control(key="section").value == "runs"
    assert "start one on **Train**" in app.info[0].value
    assert "section" not in app.query_params


@pytest.mark.parametrize(("asked", "section"), [("lab", "lab"), ("<b>", "runs"), ("", "runs")])
def test_the_address_says_which_section_is_open(asked: str, section: str) -> None:
    app = open_explore(section=asked)
    assert app.segmented_control(key="section").value == section
    assert app.query_params.get("section") == ("lab" if section == "lab" else None)
