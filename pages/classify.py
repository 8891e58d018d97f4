"""Classify: predictions for the user's photos, with explanations."""

from dataclasses import fields
from typing import Any

import numpy as np
import streamlit as st

from cifar_core import runs
from cifar_core.data import cifar10
from cifar_core.inference import classifier
from cifar_core.inference.classifier import Answers, Classifier
from cifar_core.inference.pictures import Picture
from pages.components import address, formatting, guarded, picture_view, run_picker, tiles, uploads

TITLE = "What is in your photo?"
A_PAGE = 48  # pictures on one page of the gallery
_CHUNK = 96  # pictures between two updates of the progress bar
_EXAMPLES = 6
_EXAMPLES_FROM = 200  # first test images; so few that synthetic ones are drawn quickly


def main() -> None:
    """Draw the page."""
    if not picture_view.models():
        run_picker.nothing_yet(TITLE, "Your photos, the ten probabilities of each, and why the network predicts it.")
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.title(TITLE)
        name = choose_model()
    model = classifier.open_classifier(name)
    with st.container():  # its warnings come and go; the pictures below stay
        if name != classifier.BUNDLED and "generated" in str(runs.Run(name).result.get("dataset")):
            words = "This model was trained on **synthetic images, not CIFAR-10**. Do not rely on it for photos."
            st.warning(words, icon=":material/draw:")
        for problem in model.problems:
            formatting.alert(st.warning, formatting.plain(problem), ":material/warning:")
    uploads.show_errors(uploads.refused())
    answered = st.container()  # above the inputs: the prediction comes first
    uploads.inputs(model)
    pictures = uploads.pictures()
    if not pictures:
        examples(model)
        return
    with answered:
        if len(pictures) == 1:
            guarded.fragment(picture_view.show_picture)(model, pictures[0])
        else:
            many(model, pictures)


def choose_model() -> str:
    """Draw the select box of the finished runs and the bundled model; return the chosen name."""
    titles = picture_view.models()
    newest = next(iter(titles))
    address.linked("model", titles, run_picker.remembered(titles) or newest)
    chosen = st.selectbox(
        "Model",
        list(titles),
        format_func=titles.__getitem__,
        key="model",
        width=360,
        on_change=lambda: run_picker.remember(st.session_state["model"]),
    )
    address.link("model", chosen, newest)
    if "model" in st.query_params:
        run_picker.remember(chosen)
    return chosen


def examples(model: Classifier) -> None:
    """Draw sample photos and test images. If there are no test images, show why."""
    with st.container(key="samples"):
        st.markdown("## Or try a sample photo")
        uploads.samples("sample_tiles", uploads.take, 150)
    status = cifar10.status()
    if status["error"]:
        st.warning(formatting.plain(status["error"]), icon=":material/image_not_supported:")
        return
    is_generated = status["dataset"] == "generated"
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.markdown("## Or a synthetic image" if is_generated else "## Or a CIFAR-10 test image", width="content")
        number = st.session_state.get("examples", 1)
        look: dict[str, Any] = {"icon": ":material/casino:", "key": "others", "type": "tertiary"}
        st.button("Show others", on_click=st.session_state.update, kwargs={"examples": number + 1}, **look)
    all_images, all_labels = cifar10.samples(_EXAMPLES_FROM, test=True)
    positions = np.sort(np.random.default_rng(number).choice(_EXAMPLES_FROM, _EXAMPLES, replace=False))
    images, labels = all_images[positions], all_labels[positions]
    answers = model.answer(images)
    names = [f"test image {position + 1}" for position in positions]
    truths = [cifar10.CLASSES[label] for label in labels]
    shown = [picture_view.tile(images[i], answers, i, names[i], truths[i]) for i in range(len(images))]
    take = uploads.take_example
    tiles.show(shown, "example_tiles", lambda i: take(images[i], f"{names[i]}, labeled {truths[i]}"), width=150)


def many(model: Classifier, pictures: list[Picture]) -> None:
    """Draw the selected picture, and all of them beside it, below it on a phone: filter, sort, disagreement, CSV."""
    answers = answered(model, pictures)
    names = [picture.name for picture in pictures]
    selected, gallery = st.container(key="gallery").columns([3, 1], gap="medium")
    with gallery:
        order = sorted_and_filtered(model, pictures, names, answers)
        place = st.container(height=560 if len(order) > A_PAGE // 4 else "content")
        shown = tiles.page(order, A_PAGE, "gallery_page")
        with place:
            made = [picture_view.tile(picture_view.seen(pictures[i]), answers, i, names[i]) for i in shown]
            chosen = tiles.pick(made, shown, "gallery_tiles", 0)
        with st.container(horizontal=True, vertical_alignment="bottom"):
            rows = [classifier.answer_row(names[i], answers, i) for i in order]
            rows += [{"file": one.name, "error": one.error} for one in uploads.refused()]
            formatting.csv_button("CSV", classifier.answers_csv(rows), "predictions.csv", "csv")
            st.caption(f"{len(order):,} of {len(pictures):,} pictures shown.")
    with selected:
        guarded.fragment(picture_view.show_picture)(model, pictures[chosen])


def sorted_and_filtered(model: Classifier, pictures: list[Picture], names: list[str], answers: Answers) -> list[int]:
    """Draw the sort and filter widgets; return the positions of the pictures to show, in order."""
    orders = dict(classifier.ORDERS)
    if len(picture_view.models()) > 1:
        orders["disagree"] = "disagreement first"
    with st.grid(2, min_column_width=180):
        by = address.linked_select("Sort", "classify:sort", orders, "given")
        look: dict[str, Any] = {"placeholder": "all classes", "persist_state": "session"}
        shown = st.multiselect("Show only", [*cifar10.CLASSES, classifier.UNUSUAL], key="only", **look)
    if by != "disagree":
        return classifier.picture_order(names, answers, by, shown)
    order = classifier.picture_order(names, answers, "given", shown)
    models = picture_view.compared_runs(model)
    probabilities = [answers.probabilities, *(answered(one, pictures).probabilities for one in models)]
    differ = classifier.disagreement(np.stack(probabilities))
    disputed = int((differ[order] >= 1).sum()) if order else 0
    st.markdown(f"The models disagree about **{disputed} of {len(order)}** pictures.")
    return sorted(order, key=lambda number: -differ[number])


def answered(model: Classifier, pictures: list[Picture]) -> Answers:
    """Return the predictions for all pictures, cached by model and crop. Show a progress bar."""
    seen = np.stack([picture_view.seen(picture) for picture in pictures])
    key = (model.name, hash(seen.tobytes()))
    known = st.session_state.setdefault("answered", {})
    bar = st.empty()  # always drawn: if it came and went, the browser would rebuild the gallery and scroll it up
    if key not in known:
        parts = []
        for start in range(0, len(seen), _CHUNK):
            if len(seen) > _CHUNK:
                bar.progress(start / len(seen), f"Classifying: {start:,} of {len(seen):,}")
            parts.append(model.answer(seen[start : start + _CHUNK]))
        bar.empty()
        if len(known) >= 8:
            known.clear()
        joined = {one.name: np.concatenate([getattr(part, one.name) for part in parts]) for one in fields(Answers)}
        known[key] = Answers(**joined)
    return known[key]


guarded.page(main)
