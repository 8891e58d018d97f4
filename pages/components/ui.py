"""What all pages share: messages, the knobs as widgets, small pieces of look."""

from __future__ import annotations

import functools
import runpy
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas  # noqa: F401 - whole before any session draws: Plotly takes it half imported by another thread as it is
import streamlit as st
from PIL import Image

from cifar_core import untrusted
from cifar_core.config import KNOBS
from cifar_core.data import cifar10
from cifar_core.errors import CifarError
from cifar_core.jobs import launch
from cifar_core.runs import Run
from cifar_core.runs.listing import Row

STATE_LOOK = {
    "queued": (":material/hourglass_top:", "gray"),
    "running": (":material/play_arrow:", "blue"),
    "stopping": (":material/pending:", "orange"),
    "stopped": (":material/stop:", "orange"),
    "finished": (":material/check:", "green"),
    "failed": (":material/error:", "red"),
    "lost": (":material/link_off:", "red"),
}
_MARKDOWN = str.maketrans({character: "\\" + character for character in "\\`*_{}[]<>()#+-.!|~:$&"})


SHARE_COLUMN = st.column_config.NumberColumn(format="%.1f %%", width=190)
"""A column of a table that holds per cent."""

SECRETS = Path(__file__).resolve().parents[2] / ".streamlit" / "secrets.toml"

app_runs = False
"""Whether app.py has been run in this process."""


def run_page(main: Callable[[], None]) -> None:
    """Draw a page; what is a person's to mend becomes a sentence.

    Streamlit takes a folder called pages for its older kind of app until app.py has declared its navigation, so a new
    server that is first asked for a page runs that page's file alone: then app.py is run in its place.
    """
    if not app_runs:
        runpy.run_path(str(Path(__file__).resolve().parents[2] / "app.py"))
        return
    try:
        main()
    except CifarError as error:
        problem(error)


def admit() -> None:
    """Let nobody past who has not logged in, where secrets.toml asks for a login (README, For others).

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


def fragment(draw: Callable[..., None], run_every: float | None = None) -> Callable[..., None]:
    """Return `draw` as a fragment of the page; what is a person's to mend becomes a sentence in its place.

    Streamlit shows what a fragment raises by itself, so `run_page` never hears of it.
    """

    @functools.wraps(draw)  # by its name the fragment is known
    def guarded(*arguments: Any) -> None:
        try:
            draw(*arguments)
        except CifarError as error:
            problem(error)

    return st.fragment(guarded, run_every=run_every)


def style() -> None:
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


def linked(key: str, valid: Collection[str], default: str) -> None:
    """Give the widget `key` its first value: what the address says if that is `valid`, else `default`.

    Where pages use one word of the address for different things, a widget's key is its page, a colon and the word.
    """
    if st.session_state.get(key) not in valid:
        asked = st.query_params.get(_word(key))
        st.session_state[key] = asked if asked in valid else default


def link(key: str, value: str, default: str) -> None:
    """Let the address say that `key` is `value`, so that it reproduces the view; the default goes without saying."""
    word = _word(key)
    if value != default:
        st.query_params[word] = value
    elif word in st.query_params:
        del st.query_params[word]


def _word(key: str) -> str:
    return key.rpartition(":")[2]


def linked_text(label: str, key: str, limit: int, **options: Any) -> str:
    """Let a person write one line of up to `limit` characters, which the address keeps."""
    if key not in st.session_state:
        st.session_state[key] = untrusted.one_line(st.query_params.get(key, ""))[:limit]
    text = st.text_input(label, key=key, max_chars=limit, persist_state="session", **options)
    link(key, text, "")
    return text


def linked_choices(label: str, key: str, options: Collection[str]) -> list[str]:
    """Let a person choose any of `options`; the address names them, none without saying."""
    if key not in st.session_state:
        asked = st.query_params.get(key, "").split(",")
        st.session_state[key] = [word for word in options if word in asked]
    chosen = st.pills(label, list(options), key=key, selection_mode="multi", persist_state="session")
    link(key, ",".join(chosen), "")
    return chosen


def linked_choice(label: str, key: str, options: Mapping[str, str], default: str) -> str:
    """Let a person choose one of `options` (name -> words); the address says which, the default without saying."""
    linked(key, options, default)
    chosen = st.segmented_control(
        label, list(options), key=key, required=True, format_func=options.__getitem__, persist_state="session"
    )
    link(key, chosen, default)
    return chosen


def page_number(key: str, pages: int) -> int:
    """Return the page that the field `key`, drawn later, stands at; there may be fewer `pages` now than before."""
    st.session_state[key] = min(st.session_state.get(key, 1), pages)
    return st.session_state[key]


def asked_runs(key: str, known: Collection[str], most: int) -> list[str]:
    """Return the first `most` of those `known` that the address names under `key`, each once."""
    return [name for name in dict.fromkeys(st.query_params.get_all(key)) if name in known][:most]


def plain(text: object) -> str:
    """Return `text` with every markdown sign escaped, for places that render markdown."""
    return str(text).translate(_MARKDOWN)


def problem(error: CifarError) -> None:
    """Show what went wrong, as text."""
    st.error(plain(error), icon=":material/error:")


def state_badge(run: Run, state: str) -> None:
    """Show a run's state as a badge."""
    icon, colour = STATE_LOOK[state]
    st.badge(state, icon=icon, color=colour)  # type: ignore[arg-type]


def run_title(row: Row) -> str:
    """Return a run's name for a list: what a person wrote, its id's clock time, what differs most, its accuracy."""
    figure = f" · {row.validation_accuracy:.1%}" if row.validation_accuracy is not None else ""
    shape = "damaged"
    if row.config:
        images = KNOBS["train_images"].say(row.config.train_images)
        shape = f"α {row.config.alpha:g} · {row.config.image_size} px · {images}"
    stamp = row.run.id
    clock = f"{stamp[9:11]}:{stamp[11:13]}:{stamp[13:15]}.{stamp[15:18]}"  # to the millisecond: no two are alike
    written = row.labels.name
    return f"{f'{written} · ' if written else ''}{stamp[4:6]}-{stamp[6:8]} {clock} · {shape}{figure}"


def run_titles(found: Iterable[Row]) -> dict[str, str]:
    """Return the names of runs for a list, by id; made once, since Streamlit asks for each several times."""
    return {row.run.id: run_title(row) for row in found}


def percent(value: float | None) -> float | None:
    """Return a share of 0..1 in per cent, for a column of SHARE_COLUMN."""
    return None if value is None else 100 * value


def stamp(run: Run, *names: str) -> tuple[int, ...]:
    """Return what changes with the files called `names` of a run: time and size of each, 0 where there is none."""
    found: list[int] = []
    for name in names:
        try:
            stat = (run.path / name).stat()
        except OSError:
            found += (0, 0)
        else:
            found += (stat.st_mtime_ns, stat.st_size)
    return tuple(found)


def figure_config(name: str) -> dict[str, Any]:
    """Return Plotly's configuration of a figure that its camera saves as `name`, as PNG or as SVG."""
    kind = st.session_state.get("figure_format", "png")
    return {"displaylogo": False, "toImageButtonOptions": {"format": kind, "filename": name, "scale": 2}}


def share(value: float) -> str:
    """Return a probability in words: "87%", and never "100%", which no network can know."""
    return "over 99%" if value > 0.99 else f"{value:.0%}"


def seconds(value: float) -> str:
    """Return a time in words: "40 s", "2 min 10 s", "1 h 5 min"."""
    whole = round(value)
    if whole < 90:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s" if whole < 600 else f"{round(whole / 60)} min"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def count(value: float) -> str:
    """Return a large number in words: "876,602" stays, "17.9 million" comes."""
    return (
        f"{value / 1e9:.2f} billion"
        if value >= 1e9
        else f"{value / 1e6:.1f} million"
        if value >= 1e6
        else f"{value:,.0f}"
    )


def enlarged(images: np.ndarray, factor: int = 3, gap: int = 1) -> Image.Image:
    """Return uint8 (n, 32, 32, 3) side by side as one picture, every pixel `factor` wide."""
    padded = np.pad(images, ((0, 0), (0, 0), (gap, gap), (0, 0)), constant_values=255)
    strip = np.concatenate(list(padded), axis=1)
    return Image.fromarray(strip).resize((strip.shape[1] * factor, strip.shape[0] * factor), Image.Resampling.NEAREST)


def no_pictures() -> str:
    """Return why the images of a run cannot be shown, as text: what is wrong with CIFAR-10, or that it is not here."""
    error = cifar10.status()["error"]
    return plain(error) if error else "they are not on this machine (an import, or a moved data set)."


def dataset_notice(status: dict[str, Any], uses_generated: bool, what: str = "everything here") -> None:
    """Say loudly where images are not CIFAR-10, and offer to download them where they are not on this machine.

    `uses_generated` is whether what the page shows rests on generated images though CIFAR-10 is here, `what` is what
    rests on them where it is not.
    """
    if status["error"]:
        st.error(plain(status["error"]), icon=":material/error:")
    missing = status["dataset"] == "generated"
    if not missing and not uses_generated:
        return
    with st.container(border=True):
        reason = f"CIFAR-10 is not on this machine, so {what}" if missing else "What you see or have chosen"
        st.markdown(
            f":material/draw: **Generated images, not CIFAR-10.** {reason} uses ten classes of pictures that the app "
            "draws itself. Figures on them say nothing about CIFAR-10."
        )
        if missing:
            running = status["download"]["running"]
            fragment(_download, run_every=1.0 if running else None)()


def _download() -> None:
    """Show the download's button, or how far it is. Runs by itself while it goes on."""
    download = cifar10.status()["download"]
    if download["running"]:
        done, total = download["bytes"], download["total"]
        st.progress(min(done / total, 1.0), f"Downloading CIFAR-10: {done / 1e6:.0f} of {total / 1e6:.0f} MB")
        if not st.session_state.get("downloading"):
            st.session_state["downloading"] = True
            st.rerun()  # from now on it runs by itself
    elif st.session_state.pop("downloading", False):
        st.rerun()
    else:
        st.button("Download CIFAR-10 (170 MB)", icon=":material/download:", on_click=_start_download)
        problem = st.session_state.get("download_error") or download["error"]
        if problem:
            st.error(plain(problem), icon=":material/error:")


def _start_download() -> None:
    try:
        launch.download_cifar10()
        st.session_state.pop("download_error", None)
    except CifarError as error:
        st.session_state["download_error"] = str(error)
