"""Classify: drop in a photo, see what the network makes of it, and why."""

from __future__ import annotations

import numpy as np
import streamlit as st

from cifar_core import runs
from cifar_core.charts import inference as inference_charts
from cifar_core.data import cifar10
from cifar_core.errors import DataError
from cifar_core.inference import classifier, gallery
from cifar_core.inference.classifier import Answers, Classifier
from cifar_core.inference.pictures import Picture
from pages.components import address, formatting, guarded, messages, picture_view, run_picker, uploads

A_PAGE = 48  # pictures of the gallery at a time
_CHUNK = 96  # pictures between two looks of the progress bar


def main() -> None:
    """Draw the page."""
    model = choose_model()
    if model is None:
        run_picker.nothing_yet("Classify a picture", "trained model")
        return
    ten_classes()
    uploads.inputs()
    uploads.show_refused()
    pictures = uploads.pictures()
    if not pictures:
        nothing_dropped_in(model)
        return
    chosen = picture_view.crop_choice()
    if len(pictures) > 1:
        many(model, pictures, chosen)
    number = min(st.session_state.get("closer", 0), len(pictures) - 1)
    guarded.fragment(picture_view.closer)(model, pictures[number], chosen)


def choose_model() -> Classifier | None:
    """Let a person choose a finished run or the bundled model; None where there is neither."""
    titles = picture_view.models()
    if not titles:
        return None
    newest = next(iter(titles))
    address.linked("model", titles, newest)
    chosen = st.selectbox("Model", list(titles), format_func=titles.__getitem__, key="model")
    address.link("model", chosen, newest)
    generated = chosen != classifier.BUNDLED and "generated" in str(runs.Run(chosen).result.get("dataset"))
    if generated:
        st.warning(
            "This model was trained on **generated images, not CIFAR-10**: it knows drawings, not photographs.",
            icon=":material/draw:",
        )
    return classifier.open_classifier(chosen)


def ten_classes() -> None:
    """Show the ten classes, an example of each where there are images, in a strip that stays in sight."""
    try:
        images, labels = cifar10.samples(uploads.EXAMPLES_FROM)
    except DataError:
        images, labels = np.empty((0, 32, 32, 3), np.uint8), np.empty(0, np.uint8)
    with st.container(key="ten"):
        st.html(_ten(images.tobytes(), labels.tobytes()))


@st.cache_data(max_entries=4, show_spinner=False)
def _ten(pixels: bytes, labels: bytes) -> str:
    images, known = np.frombuffer(pixels, np.uint8).reshape(-1, 32, 32, 3), np.frombuffer(labels, np.uint8)
    figures = []
    for label, name in enumerate(cifar10.CLASSES):
        own = np.flatnonzero(known == label)
        picture = f'<img src="{inference_charts.png(images[own[0]])}" alt="">' if len(own) else ""
        figures.append(f"<figure>{picture}<figcaption>{name}</figcaption></figure>")
    return f'<div class="ten" role="img" aria-label="the ten classes">{"".join(figures)}</div>'


def nothing_dropped_in(model: Classifier) -> None:
    """Show test images as long as a person has brought nothing; say why where there are none."""
    status = cifar10.status()
    if status["error"]:
        st.caption("Nothing dropped in yet. There are no test images to try it on; your own pictures need none.")
        st.warning(messages.plain(status["error"]), icon=":material/image_not_supported:")
        return
    drawn = status["dataset"] == "generated"
    kind = "generated images, not CIFAR-10" if drawn else "test images, with the class that people gave them"
    st.caption(f"Nothing dropped in yet: here are {kind}.")
    examples(model)


def examples(model: Classifier) -> None:
    """Show a few test images, others at each press of the button."""
    st.button("Other test images", icon=":material/casino:", on_click=uploads.next_examples)
    positions, images, labels = uploads.test_images()
    answers = model.answer(images)
    row = st.container(horizontal=True, key="gallery_examples")
    for number in range(len(images)):
        column = row.container(width=150, gap="small")
        said, truth = cifar10.CLASSES[int(answers.labels[number])], cifar10.CLASSES[int(labels[number])]
        column.image(formatting.enlarged(images[number][None], 5, 0), width=150)
        colour, word = ("green", "right") if said == truth else ("red", f"labelled {truth}")
        column.markdown(f"{picture_view.verdict(answers, number)}  \n:{colour}[{word}]")
        column.button(
            "Look closer",
            key=f"example{number}",
            on_click=uploads.take_example,
            args=(images[number], f"test image {positions[number] + 1}, labelled {truth}"),
            type="tertiary",
        )


def many(model: Classifier, pictures: list[Picture], chosen: str) -> None:
    """Show all pictures with their answers: filter, sort, disagreement between runs, CSV."""
    answers = answered(model, pictures, chosen)
    names = [picture.name for picture in pictures]
    order = sorted_and_filtered(model, pictures, chosen, names, answers)
    pages = max(1, -(-len(order) // A_PAGE))
    page = address.page_number("gallery_page", pages)
    with st.container(horizontal=True, key="gallery"):
        for number in order[(page - 1) * A_PAGE : page * A_PAGE]:
            with st.container(width=128, gap="small"):
                seen = pictures[number].network_input(picture_view.crop_of(pictures[number], chosen))
                st.image(formatting.enlarged(seen[None], 4, 0), width=128)
                st.markdown(picture_view.verdict(answers, number))
                st.caption(messages.file_name(names[number]))
                st.button("Look closer", key=f"closer{number}", on_click=look, args=(number,), type="tertiary")
    with st.container(horizontal=True, vertical_alignment="center"):
        if pages > 1:
            st.number_input(f"Page, of {pages}", 1, pages, key="gallery_page", width=140)
        st.download_button(
            "CSV",
            gallery.to_csv(
                [gallery.answer_row(names[i], answers, i) for i in order]
                + [{"file": one.name, "error": one.error} for one in uploads.refused()]
            ),
            "predictions.csv",
            "text/csv",
            icon=":material/download:",
            key="csv",
            on_click="ignore",
        )
        st.caption(f"{len(order):,} of {len(pictures):,} pictures shown.")


def sorted_and_filtered(
    model: Classifier, pictures: list[Picture], chosen: str, names: list[str], answers: Answers
) -> list[int]:
    """Let a person choose what is shown and in which order; return the pictures' positions."""
    orders = dict(gallery.ORDERS)
    others_exist = len(picture_view.models()) > 1
    if others_exist:
        orders["disagree"] = "where runs disagree first"
    address.linked("classify:sort", orders, "given")
    left, right = st.columns([1, 2])
    by = left.selectbox("Sort", list(orders), key="classify:sort", format_func=orders.__getitem__)
    address.link("classify:sort", by, "given")
    shown = right.multiselect(
        "Show only", [*cifar10.CLASSES, gallery.UNUSUAL], key="only", placeholder="all classes", persist_state="session"
    )
    if by != "disagree":
        return gallery.order(names, answers, by, shown)
    order = gallery.order(names, answers, "given", shown)
    models = picture_view.compared_runs(model)
    said = [answers.probabilities, *(answered(one, pictures, chosen).probabilities for one in models)]
    differ = gallery.disagreement(np.stack(said))
    disputed = int((differ[order] >= 1).sum()) if order else 0
    st.markdown(f"The models disagree about **{disputed} of {len(order)}** pictures.")
    return sorted(order, key=lambda number: -differ[number])


def answered(model: Classifier, pictures: list[Picture], chosen: str) -> Answers:
    """Return the answers to all pictures, with a progress bar; computed once for each model and crop."""
    seen = np.stack([picture.network_input(picture_view.crop_of(picture, chosen)) for picture in pictures])
    key = (model.name, hash(seen.tobytes()))
    known = st.session_state.setdefault("answered", {})
    if key not in known:
        bar, parts = st.empty(), []
        for start in range(0, len(seen), _CHUNK):
            if len(seen) > _CHUNK:
                bar.progress(start / len(seen), f"Classifying: {start:,} of {len(seen):,}")
            parts.append(model.answer(seen[start : start + _CHUNK]))
        bar.empty()
        if len(known) >= 8:
            known.clear()
        known[key] = Answers(
            *(
                np.concatenate([getattr(part, name) for part in parts])
                for name in ("probabilities", "scores", "is_unusual", "is_very_unusual")
            )
        )
    return known[key]


def look(number: int) -> None:
    """Look closer at one of the pictures."""
    st.session_state["closer"] = number


guarded.page(main)
