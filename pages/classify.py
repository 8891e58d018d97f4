"""Classify: drop in a photo, see what the network sees and what it makes of it."""

from __future__ import annotations

import numpy as np
import streamlit as st
from PIL import Image

from cifar_core import charts, classifier, data, pictures, runs
from cifar_core.names import shown_name
from pages import ui

TYPES = ["png", "jpg", "jpeg", "webp", "bmp", "gif", "zip"]
EXAMPLES = 6
EXAMPLES_FROM = 200  # of the test images, so few that they are drawn at once where there is no CIFAR-10
SHOWN = 24


def main() -> None:
    """Draw the page."""
    model = choose_model()
    if model is None:
        st.title("Classify a picture")
        st.info(
            "There is no trained model yet. Go to **Train**, press **Start training**, and come back in a minute.",
            icon=":material/model_training:",
        )
        st.page_link("pages/train.py", label="Go to Train", icon=":material/model_training:")
        return
    files = st.file_uploader(
        "Pictures (PNG, JPEG, WebP, BMP or GIF), or a zip of them",
        type=TYPES,
        accept_multiple_files=True,
        key="pictures",
    )
    crop = st.segmented_control(
        "A photo that is not square is",
        ["centre", "squeeze"],
        default="centre",
        key="crop",
        format_func={"centre": "cropped to its centre", "squeeze": "squeezed"}.get,
        persist_state="session",
    )
    if files:
        found = pictures.read_all((file.name, file.getvalue()) for file in files)
        answer(model, found, crop or "centre")
    else:
        st.caption("Nothing dropped in yet: here are test images, with the class that people gave them.")
        examples(model)


def choose_model() -> classifier.Classifier | None:
    """Let a person choose a finished run or the bundled model; None where there is neither."""
    names = [run.id for run in runs.finished_runs()]
    if classifier.has_bundled():
        names.append(classifier.BUNDLED)
    if not names:
        return None
    if st.session_state.get("model") not in names:
        asked = st.query_params.get("model")
        st.session_state["model"] = asked if asked in names else names[0]
    chosen = st.selectbox("Model", names, format_func=model_title, key="model", persist_state="session")
    st.query_params["model"] = chosen
    generated = chosen != classifier.BUNDLED and "generated" in str(runs.Run(chosen).result.get("dataset"))
    if generated:
        st.warning(
            "This model was trained on **generated images, not CIFAR-10**: it knows drawings, not photographs.",
            icon=":material/draw:",
        )
    return classifier.open_classifier(chosen)


def model_title(name: str) -> str:
    """Return a model's name for the list."""
    return "bundled model" if name == classifier.BUNDLED else ui.run_title(runs.Run(name))


def answer(model: classifier.Classifier, found: list[pictures.Picture], crop: str) -> None:
    """Show the answer to every picture that can be read, and the reason for every one that cannot."""
    for picture in found:
        if picture.error:
            st.error(f"**{ui.plain(shown_name(picture.name))}**: {ui.plain(picture.error)}", icon=":material/error:")
    good = [picture for picture in found if picture.image is not None]
    if not good:
        return
    seen = np.concatenate([pictures.prepare(picture.image, crop) for picture in good])  # type: ignore[arg-type]
    probabilities = model.probabilities(seen)
    for number, picture in enumerate(good[:SHOWN]):
        picture_row(number, shown_name(picture.name), picture.image, seen[number], probabilities[number])
    if len(good) > SHOWN:
        st.caption(f"The first {SHOWN} of {len(good)} pictures are shown; the command line answers all of them.")


def examples(model: classifier.Classifier) -> None:
    """Show a few test images, others at each press of the button."""
    all_images, all_labels = data.samples(EXAMPLES_FROM, test=True)
    st.button("Other test images", icon=":material/casino:", on_click=next_examples)
    rng = np.random.default_rng(st.session_state.get("examples", 1))
    chosen = np.sort(rng.choice(EXAMPLES_FROM, EXAMPLES, replace=False))
    images = np.array(all_images[chosen])
    probabilities = model.probabilities(images)
    for column, image, label, p in zip(st.columns(EXAMPLES), images, all_labels[chosen], probabilities, strict=True):
        said, truth = data.CLASSES[int(p.argmax())], data.CLASSES[int(label)]
        column.image(ui.enlarged(image[None], 6, 0), width="stretch")
        colour, word = ("green", "right") if said == truth else ("red", f"labelled {truth}")
        column.markdown(f"**{said}** {p.max():.0%}  \n:{colour}[{word}]")


def next_examples() -> None:
    """Choose other examples."""
    st.session_state["examples"] = st.session_state.get("examples", 1) + 1


def picture_row(number: int, name: str, image: Image.Image | None, seen: np.ndarray, probabilities: np.ndarray) -> None:
    """Show one picture, the 32×32 pixels that the network gets, and the ten probabilities."""
    best = int(probabilities.argmax())
    with st.container(border=True):
        st.markdown(f"#### {data.CLASSES[best]}, {probabilities[best]:.0%}")
        photo, small, bars = st.columns([1.2, 1, 2], vertical_alignment="top")
        photo.image(image, width="stretch", caption=ui.plain(name))
        small.image(ui.enlarged(seen[None], 8, 0), width="stretch", caption="what the network sees: 32×32 pixels")
        bars.plotly_chart(
            charts.probability_figure(probabilities, data.CLASSES),
            key=f"bars{number}",
            config={"displayModeBar": False},
        )


ui.run_page(main)
