"""The very images on *Evaluate*: of a cell of the confusion matrix, sure mistakes, lucky hits; one of them closer."""

from __future__ import annotations

import numpy as np
import streamlit as st
from PIL import Image
from streamlit.delta_generator import DeltaGenerator

from cifar_core import charts, runs
from cifar_core.charts import evaluation as evaluation_charts
from cifar_core.data import cifar10
from cifar_core.data.cifar10 import CLASSES
from cifar_core.evaluation import assessment, mistakes
from cifar_core.evaluation.assessment import Assessment
from cifar_core.evaluation.predictions import Predictions
from cifar_core.inference import explain
from cifar_core.inference.classifier import Classifier, open_classifier
from pages.components import address, formatting, messages, picture_view, run_state

A_PAGE = 16
KINDS = {
    "mistakes": "sure, and wrong",
    "lucky": "right, and least sure",
    "outvoted": "right, against its neighbours",
}
CELLS = {"images": "images", "share": "percent of the label"}
_ABOUT = {
    "mistakes": "The wrong answers with the highest probability.",
    "lucky": "The right answers with the lowest probability.",
    "outvoted": f"Right answers, of the {mistakes.VOTED} least sure, whose nearest training images mostly have "
    "another label.",
}
_WRONG_LABELS = (
    "Some **labels of CIFAR-10 are wrong**: 0.5% of the test labels (Northcutt et al. 2021). Judge yourself."
)


def confusion(found: Assessment, split: str) -> None:
    """Show the confusion matrix and the images of the chosen cell. A fragment."""
    said = found.calibrated.split(split)
    label, answer = _chosen_cell(said)
    counts = mistakes.confusion(said)
    with st.container(key="wide_confusion"):
        left, right = st.columns([1.25, 1])
    with left:
        shares = address.linked_choice("Cells show", "cells", CELLS, "images") == "share"
        st.plotly_chart(
            evaluation_charts.confusion_figure(counts, (label, answer), shares=shares),
            key="confusion",
            on_select=_take_cell,
            selection_mode="points",
            config=formatting.figure_config(f"confusion-{split}"),
            alt=f"Confusion matrix of the {split} images; choose a cell with the two lists beside it.",
        )
    with right:
        st.caption("Click on a cell, or choose it here.")
        first, second = st.columns(2)
        first.selectbox("Labelled", CLASSES, key="cell_label", on_change=_link_cell)
        second.selectbox("Called", CLASSES, key="cell_answer", on_change=_link_cell)
        label, answer = CLASSES.index(st.session_state["cell_label"]), CLASSES.index(st.session_state["cell_answer"])
        positions = mistakes.in_cell(said, label, answer)
        total = int(counts[label].sum())
        kind = "found" if label == answer else f"called {CLASSES[answer]}"
        share = f" ({len(positions) / total:.1%})" if total else ""
        st.markdown(f"**{len(positions):,} of {total:,}** images labelled {CLASSES[label]} were {kind}{share}.")
        images = found.images(split)
        _grid(left, found, said, images, positions, f"cell-{split}-{label}-{answer}")


def extremes(found: Assessment, split: str) -> None:
    """Show sure mistakes and lucky hits. A fragment."""
    kind = address.linked_choice("Images that are", "kind", KINDS, "mistakes")
    said, images = found.calibrated.split(split), found.images(split)
    st.markdown(f"{_ABOUT[kind]} {_WRONG_LABELS if kind == 'mistakes' and found.is_cifar10 else ''}")
    votes: dict[int, int] = {}
    if kind == "mistakes":
        positions = mistakes.confident_mistakes(said)
    elif kind == "lucky":
        positions = mistakes.lucky_hits(said)
    else:
        model = open_classifier(found.run.id)
        if images is None or model.index is None:
            reason = "This needs the run's images and its index of training images; one of them is not here."
            st.caption(messages.plain(" ".join(model.problems)) or reason)
            return
        positions, counts = _outvoted(found.run.id, split, run_state.stamp(found.run, "evaluation.npz", "model.tflite"))
        votes = dict(zip(positions.tolist(), counts.tolist(), strict=True))
    if not len(positions):
        st.caption("There is none.")
        return
    with st.container(key="wide_extremes"):
        left, right = st.columns([1, 1.25])
    with right:
        _grid(left, found, said, images, positions, f"{kind}-{split}", votes)


@st.cache_resource(max_entries=8, show_spinner="Asking the nearest training images")
def _outvoted(run_id: str, split: str, stamp: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    model = open_classifier(run_id)
    found = assessment.of(runs.Run(run_id))
    images = found.images(split)
    if images is None or model.index is None:
        return np.empty(0, int), np.empty(0, int)
    return mistakes.against_neighbours(found.calibrated.split(split), images, model.features, model.index)


def _chosen_cell(said: Predictions) -> tuple[int, int]:
    """Return the chosen cell, first from the address ("cat-dog"), by default the confusion that happens most."""
    if "cell_label" not in st.session_state or "cell_answer" not in st.session_state:
        asked = str(st.query_params.get("cell", "")).split("-")
        worst = mistakes.worst_cell(said)
        names = asked if len(asked) == 2 and set(asked) <= set(CLASSES) else [CLASSES[i] for i in worst]
        st.session_state["cell_label"], st.session_state["cell_answer"] = names
    return CLASSES.index(st.session_state["cell_label"]), CLASSES.index(st.session_state["cell_answer"])


def _take_cell() -> None:
    """Make the clicked cell the chosen one."""
    points = st.session_state["confusion"].selection.points
    if points and {points[0].get("x"), points[0].get("y")} <= set(CLASSES):
        st.session_state["cell_answer"], st.session_state["cell_label"] = points[0]["x"], points[0]["y"]
        _link_cell()


def _link_cell() -> None:
    st.query_params["cell"] = f"{st.session_state['cell_label']}-{st.session_state['cell_answer']}"


def _grid(
    closer_place: DeltaGenerator,
    found: Assessment,
    said: Predictions,
    images: np.ndarray | None,
    positions: np.ndarray,
    key: str,
    votes: dict[int, int] | None = None,
) -> None:
    """Show the images at `positions`, a page at a time, and the chosen one closer, in `closer_place`."""
    if not len(positions):
        return
    if images is None:
        st.info(f"The figures of this run's images, without pictures: {messages.no_pictures()}")
        _as_table(said, positions)
        return
    pages = -(-len(positions) // A_PAGE)
    page = address.page_number(f"page-{key}", pages)
    shown = positions[(page - 1) * A_PAGE : page * A_PAGE]
    chosen = st.session_state.get("looked")
    chosen = chosen if chosen in shown else int(shown[0])
    with closer_place:
        _closer(open_classifier(found.run.id), images[chosen], said.probabilities[chosen], int(said.labels[chosen]))
    with st.container(horizontal=True, key="gallery_evaluate"):
        for position in shown.tolist():
            _thumbnail(said, images[position], position, position == chosen, (votes or {}).get(position))
    if pages > 1:
        st.number_input(f"Page, of {pages} ({len(positions):,} images)", 1, pages, key=f"page-{key}", width=220)


def _thumbnail(said: Predictions, image: np.ndarray, position: int, is_chosen: bool, votes: int | None) -> None:
    best = int(said.probabilities[position].argmax())
    label = int(said.labels[position])
    with st.container(width=104, gap="small"):
        st.image(formatting.enlarged(image[None], 3, 0), width=96)
        truth = "" if best == label else f"  \n:gray[labelled {CLASSES[label]}]"
        more = "" if votes is None else f"  \n:gray[{votes} of {mistakes.NEIGHBOUR} agree]"
        st.markdown(f"**{CLASSES[best]}** {formatting.share(float(said.probabilities[position, best]))}{truth}{more}")
        st.button(
            "Shown" if is_chosen else "Look",
            key=f"look{position}",
            on_click=_look,
            args=(position,),
            type="tertiary",
            disabled=is_chosen,
        )


def _look(position: int) -> None:
    st.session_state["looked"] = position


def _closer(model: Classifier, image: np.ndarray, said: np.ndarray, label: int) -> None:
    """Show one image: what speaks for its answer and for its label, and its ten probabilities."""
    best = int(said.argmax())
    heats = picture_view.saliency(model, image)
    picture = Image.fromarray(image)
    with st.container(border=True):
        titles = [f"speaks for {CLASSES[best]} (the answer)"] + (
            [f"speaks for {CLASSES[label]} (the label)"] * (best != label)
        )
        with st.container(horizontal=True):
            st.image(
                picture.resize((160, 160), Image.Resampling.NEAREST), width=160, caption=f"labelled {CLASSES[label]}"
            )
            for heat, title in zip((heats[best], heats[label]), titles, strict=False):
                st.image(explain.overlay(picture, heat, side=160), width=160, caption=title)
        st.plotly_chart(
            charts.probability_figure(said, cifar10.CLASSES, 270), key="looked_bars", config={"displayModeBar": False}
        )
        st.caption(":orange[Orange] speaks for the class, :violet[purple] against it (occlusion).")


def _as_table(said: Predictions, positions: np.ndarray) -> None:
    shown = positions[:200]
    best = said.probabilities[shown].argmax(axis=1)
    st.dataframe(
        {
            "position": shown,
            "label": [CLASSES[label] for label in said.labels[shown]],
            "answer": [CLASSES[answer] for answer in best],
            "probability": 100 * said.probabilities[shown].max(axis=1),
        },
        hide_index=True,
        column_config={"probability": formatting.SHARE_COLUMN},
        height=320,
    )
