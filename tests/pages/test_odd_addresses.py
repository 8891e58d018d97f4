"""Addresses with values that no widget has: a page shows its usual values, and never fails."""

import pytest
from app_pages import CLASSIFY, EXPLORE, TRAIN, make_evaluated_run, make_finished_run, open_app
from streamlit.testing.v1 import AppTest

from cifar_core.config import KNOBS, PRESETS
from pages.components import formatting, knobs

ODD = {
    "huge": "99999999999999999999",
    "very huge": "9" * 5_000,
    "negative": "-1",
    "most negative": "-99999999999999999999",
    "nan": "nan",
    "infinity": "inf",
    "large exponent": "1e309",
    "small exponent": "1e-400",
    "text": "<b>x</b>",
    "nothing": "",
    "other digits": "٣",
    "zero byte": "\0",
    "repeated": ["3", "99999999999999999999"],
}
ODD_BUT_VALID = ("1e-400", "٣", ODD["repeated"])
"""0, 3, and the last of several, for those settings that have such a value."""
odd = pytest.mark.parametrize("value", ODD.values(), ids=ODD)
PAGES = {
    TRAIN: ("run", "settings"),
    CLASSIFY: ("model", "crop", "view", "class", "with", "classify:sort", "sort", "gallery_page"),
    EXPLORE: ("section", "runs", "sort", "filter", "starred", "trials", "axis", "smoothing", "sweep", "trial", "grid",
              "tried", "lab_dropout", "lab_l2", "lab_head_learning_rate", "lab_augmentation", "dropout", "l2"),
    "pages/teach.py": ("project",),
    "pages/evaluate.py": ("run", "section", "split", "cell", "kind", "beside"),
    "pages/learn.py": ("lesson",),
}  # fmt: skip
SEARCH_FORM = "the form of a search"
SEARCH = ("search_preset", "search_images", "search_fine_tune", "search_unit", "search_trials", "search_minutes",
          "search_grid", "search_dropout", "search_dropout_values", "search_head_learning_rate")  # fmt: skip


def settings_of(app: AppTest) -> dict[str, object]:
    return {name: app.session_state[name] for name in KNOBS}


@odd
def test_a_setting_that_there_is_not_is_that_of_quick(value: str | list[str]) -> None:
    app = open_app(TRAIN, **dict.fromkeys(KNOBS, value))
    for name, chosen in settings_of(app).items():
        assert KNOBS[name].check(chosen) == chosen
        if value not in ODD_BUT_VALID:
            assert chosen == getattr(knobs.USUAL, name)
    assert not app.error


def test_a_seed_at_the_end_of_its_range_is_taken() -> None:
    highest = int(KNOBS["seed"].high or 0)
    assert open_app(TRAIN, seed=str(highest)).session_state["seed"] == highest
    assert open_app(TRAIN, seed=str(highest + 1)).session_state["seed"] == knobs.USUAL.seed


def test_an_odd_change_of_a_preset_is_said_and_the_preset_stays() -> None:
    app = open_app(TRAIN, settings="classic", dropout="<b>", seed="7")
    assert settings_of(app) == {name: getattr(PRESETS["classic"], name) for name in KNOBS} | {"seed": 7}
    assert sum("Dropout" in one.value for one in app.warning) == 1


@odd
@pytest.mark.parametrize("page", PAGES)
def test_no_word_of_an_address_fails_a_page(page: str, value: str | list[str], model: bytes) -> None:
    make_finished_run(model)
    open_app(page, **dict.fromkeys(PAGES[page], value))
    if page == EXPLORE:
        open_app(page, section="search", **dict.fromkeys(SEARCH, value))
        open_app(page, section="lab", **dict.fromkeys(PAGES[page][1:], value))


@pytest.mark.parametrize(
    ("page", "word", "value"),
    [
        (CLASSIFY, "model", None),
        (EXPLORE, "section", "lab"),
        (EXPLORE, "starred", "true"),
        (EXPLORE, "smoothing", "0.5"),
        (SEARCH_FORM, "search_preset", "standard"),
        (SEARCH_FORM, "search_images", "10,000 images"),
        (SEARCH_FORM, "search_fine_tune", "true"),
        (SEARCH_FORM, "search_grid", "true"),
        (SEARCH_FORM, "search_vary", ["Dropout", "Width α"]),
        (SEARCH_FORM, "search_vary", ""),
        (SEARCH_FORM, "search_alpha", ["0.35", "1"]),
        (SEARCH_FORM, "search_dropout", ["0.1", "0.4"]),
        (SEARCH_FORM, "search_unit", "minutes"),
        (SEARCH_FORM, "search_trials", "50"),
        ("pages/teach.py", "project", None),
        ("pages/learn.py", "lesson", "scaling"),
        ("pages/evaluate.py", "split", "test"),
        ("pages/evaluate.py", "classes", "true"),
    ],
)
def test_a_value_that_there_is_not_is_said_once_and_a_known_one_is_not(
    page: str, word: str, value: str | list[str] | None, model: bytes
) -> None:
    def noted(**query: str | list[str]) -> list[str]:
        place = {"section": "search"} if page == SEARCH_FORM else {}
        app = open_app(EXPLORE if page == SEARCH_FORM else page, **place, **query)
        return [one.value for one in app.warning if "The address" in one.value]

    make_evaluated_run(model)
    odd = ["<b>x", "9" * 400] if isinstance(value, list) else "<b>x"
    before, (said,) = noted(), noted(**{word: odd})
    assert f"{formatting.plain(word)}=" in said.replace("\\=", "=") and "<b>" not in said
    assert not before and (value is None or not noted(**{word: value}))


@pytest.mark.parametrize("values", [["0.1"], ["0.1", "0.2", "0.3"], ["0.1", "7"], ["nan", "inf"], [""]])
def test_a_range_of_an_address_that_is_none_is_said_once(values: list[str]) -> None:
    app = open_app(EXPLORE, section="search", search_dropout=values)
    assert sum("search" in one.value and "dropout" in one.value for one in app.warning) == 1
    assert app.select_slider(key="search_dropout").value in ((0.0, 0.8), (0.1, 0.8))  # a value that there is stays
