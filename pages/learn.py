"""Learn: guess first, then see the results of real runs."""

from collections.abc import Mapping
from typing import Any, Literal

import streamlit as st

from cifar_core import doctor, glossary
from cifar_core.charts import pictures
from cifar_core.data import cifar10
from cifar_core.lessons.catalogue import INSIDE, LESSONS, Lesson
from cifar_core.lessons.experiments import CONDITIONS
from pages.components import address, augmentation_preview, dataset_notice, formatting, guarded, lesson_view

_TO_TOP = "<script>document.querySelector('[data-testid=stMain]').scrollTo(0, 0)</script>"
_CHECKS = {
    "ok": ":green[:material/check_circle:]",
    "warning": ":orange[:material/warning:]",
    "error": ":red[:material/error:]",
}


def main() -> None:
    """Draw the lesson in the URL. Without one, draw the overview."""
    guesses = progress()
    name = st.query_params.get("lesson")
    lesson = LESSONS[name] if name and address.known("lesson", name, LESSONS) else None
    if lesson is None:
        overview(guesses)
    else:
        guesses.setdefault(lesson.name, None)
        draw(lesson, guesses)
    if not address.is_history():
        address.link("guesses", written(guesses), "")
    opened = lesson.name if lesson else ""
    if st.session_state.get("lesson_opened") != opened:  # to the browser it is the same page: it does not scroll
        st.session_state["lesson_opened"] = opened
        st.html(_TO_TOP, unsafe_allow_javascript=True)


def progress() -> dict[str, int | None]:
    """Return the guess of each opened lesson, None if not guessed yet. The URL sets the initial value of a session."""
    if "guesses" not in st.session_state:
        valid = {
            written({name: guess}): (name, guess)
            for name, lesson in LESSONS.items()
            for guess in (None, *range(len(lesson.options)))
        }
        words = filter(None, st.query_params.get("guesses", "")[:500].split("-"))
        st.session_state["guesses"] = dict(valid[word] for word in address.known_of("guesses", list(words), valid))
    return st.session_state["guesses"]


def written(guesses: Mapping[str, int | None]) -> str:
    """Return the progress in the format of the URL: `scaling.1-freezing`."""
    return "-".join(name if guess is None else f"{name}.{guess}" for name, guess in guesses.items())


def overview(guesses: Mapping[str, int | None]) -> None:
    """Draw the progress, a card for each lesson, and the glossary."""
    st.title("Guess, then see what real runs measured")
    answered = [name for name in LESSONS if guesses.get(name) is not None]
    following = next((name for name in LESSONS if name not in answered), None)
    st.progress(len(answered) / len(LESSONS), f"{len(answered)} of {len(LESSONS)} lessons answered")
    if answered:
        st.caption("The address of this page stores your answers: bookmark it to continue later.")
    if following:
        verb = "Continue" if answered else "Start"
        opens(following, f"{verb}: {LESSONS[following].title}", "continue", "play_arrow", "primary")
    st.header("What do you see in your run?")
    with st.grid(4, min_column_width=150):
        for lesson in LESSONS.values():
            with st.container(border=True, height="stretch", key=f"card_{lesson.name}"):
                picture(lesson, "stretch")
                state = "check_circle" if lesson.name in answered else "visibility" if lesson.name in guesses else ""
                label = f"**{lesson.symptom}**  \n{lesson.number}. {lesson.title}"
                opens(lesson.name, label, f"open_{lesson.name}", state, "tertiary")
    with st.expander("Glossary", icon=":material/menu_book:", key="glossary"):
        st.markdown("\n".join(f"- **{term}**: {definition}" for term, definition in glossary.TERMS.items()))
    this_machine()


def opens(name: str, label: str, key: str, icon: str, kind: Literal["primary", "secondary", "tertiary"]) -> None:
    """Draw a button that opens lesson `name`, or the overview if empty. The URL keeps the progress."""
    if st.button(label, key=key, icon=icon and f":material/{icon}:", type=kind, wrap=True):
        guesses = st.session_state["guesses"]
        if name:
            guesses.setdefault(name, None)  # one update: one entry in the browser's history
        query = {"lesson": name, "guesses": written(guesses)}
        st.query_params.from_dict({word: value for word, value in query.items() if value})
        st.rerun()


def picture(lesson: Lesson, width: Literal["stretch"] | int) -> None:
    st.image(lesson.picture, alt=pictures.alt(lesson.picture), width=width)


def draw(lesson: Lesson, guesses: dict[str, int | None]) -> None:
    """Draw a lesson: the question, and after a guess the results."""
    name = lesson.name
    with st.container(horizontal=True, vertical_alignment="center"):
        opens("", "All lessons", "all_lessons", "arrow_back", "secondary")
        st.caption(f"Lesson {lesson.number} of {len(LESSONS)}")
    st.title(lesson.title)
    results, origin = lesson_view.findings(name)
    generated = any("generated" in made.data for made in lesson_view.made_by(results))
    dataset_notice.show(cifar10.status(), generated, "everything here" if generated else "what you run here")
    left, right = st.columns([3, 2], gap="large")
    with left:
        st.markdown(lesson.text, help=glossary.explain(f"{lesson.text} {lesson.question}"))
        key, options = f"guess_{name}", range(len(lesson.options))
        st.session_state.setdefault(key, guesses[name])
        look: dict[str, Any] = {"format_func": lesson.options.__getitem__, "persist_state": "session"}
        guess = guesses[name] = st.radio(f"**Guess:** {lesson.question}", options, None, key=key, **look)
    with right:
        picture(lesson, 400)
    if guess is None:
        st.caption("Choose an answer to see what was measured.")
    elif results and name == INSIDE:
        lesson_view.look_inside(lesson, guess, results)
    elif results:
        lesson_view.show(lesson, guess, results, origin)
    elif name != INSIDE:
        st.info("There are no results yet: run the lesson below.", icon=":material/play_arrow:")
    if name == "augmentation":
        augmentation_preview.panel(None, True)
    if name != INSIDE:
        lesson_view.runs_here(name)
    if name in CONDITIONS and guess is not None:
        lesson_view.try_it(name)
    following = dict(zip(LESSONS, [*LESSONS][1:], strict=False)).get(name)
    label = f"Next: {LESSONS[following].title}" if following else "All lessons"
    opens(following or "", label, "next", "arrow_forward", "primary")


@guarded.fragment
def this_machine() -> None:
    """Draw the checks of this machine in an expander."""
    guarded.panel("This machine", "computer", checks, key="this_machine")


def checks() -> None:
    """Draw the checks of this machine."""
    lines = []
    for check in doctor.checks():
        name = "GPU" if check.name == "gpu" else check.name.capitalize()
        advice = f"*{formatting.plain(check.advice)}*" if check.advice else ""
        lines.append(f"{_CHECKS[check.state]} **{name}**: {formatting.plain(check.value)} {advice}")
    st.markdown("\n\n".join(lines))


guarded.page(main)
