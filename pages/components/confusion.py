"""Confusion matrix and image grids of *Evaluate*: images of a cell, confident mistakes, unsure correct ones."""

import numpy as np
import streamlit as st
from PIL import Image

from cifar_core import glossary
from cifar_core.charts import answers as answer_charts
from cifar_core.data.cifar10 import CLASSES
from cifar_core.evaluation import assessment, predictions
from cifar_core.evaluation.assessment import Assessment
from cifar_core.evaluation.predictions import Predictions
from cifar_core.inference import explain
from cifar_core.inference.classifier import Classifier, open_classifier
from cifar_core.runs import labels
from pages.components import address, dataset_notice, formatting, live_chart, picture_view, run_picker, tables, tiles
from pages.components.tiles import Tile

A_PAGE = 12
_EXAMPLES = 3
_SIDE = 144
KINDS = {"mistakes": "confident mistakes", "lucky": "least confident correct", "outvoted": "outvoted by neighbors"}
CELLS = {"share": "Percent", "images": "Images"}
_ABOUT = {
    "mistakes": "The wrong predictions with the highest probability.",
    "lucky": "The correct predictions with the lowest probability.",
    "outvoted": f"Of the {predictions.VOTED} least confident correct ones, those whose nearest training images have "
    "other labels.",
}
FILES = run_picker.by_files("evaluation.npz", "model.tflite")
"""Files of a run whose change may change its mistakes and their nearest training images."""
_WRONG_LABELS = "Some **labels of CIFAR-10 are wrong**: 0.5% of the test labels (Northcutt et al. 2021)."


def confusion(results: list[Assessment], split: str) -> None:
    """Show the confusion matrix of each run and the images of the selected cell. Use it as a fragment."""
    st.header("What it confuses", help=glossary.TERMS["confusion matrix"])
    st.markdown("Rows are true classes, columns are predictions: green is correct, red is a mistake. Choose a cell.")
    _choose_cell(results[0].calibrated.split(split))
    with st.container(horizontal=True):
        shares = address.linked_choice("Cells show", "cells", CELLS, "share") == "share"
        st.selectbox("Label", CLASSES, key="cell_label", on_change=_link_cell, width=150)
        st.selectbox("Prediction", CLASSES, key="cell_answer", on_change=_link_cell, width=150)
    cell = CLASSES.index(st.session_state["cell_label"]), CLASSES.index(st.session_state["cell_answer"])
    columns = st.columns(2, gap="large")
    matrices = [predictions.confusion_counts(one.calibrated.split(split)) for one in results]
    top = max(answer_charts.highest_mistake(counts) for counts in matrices)
    for number, (one, counts) in enumerate(zip(results, matrices, strict=True)):
        figure = answer_charts.confusion_figure(counts, cell, shares, top)
        alt = f"Confusion matrix of the {split} images. Choose a cell with the two lists above."
        with columns[number]:
            if len(results) > 1:
                st.caption(formatting.plain(run_picker.title_of(one.run.id)))
            live_chart.draw(figure, f"confusion{number}", alt, live_chart.NO_TOOLBAR, _take_cell)
        with columns[1 if len(results) == 1 else number]:
            _cell(one, split, counts, cell, number)


def _cell(result: Assessment, split: str, counts: np.ndarray, cell: tuple[int, int], number: int) -> None:
    """Show the number of images in a cell, and the images."""
    label, answer = cell
    answers = result.calibrated.split(split)
    positions = predictions.images_in_cell(answers, label, answer)
    total = int(counts[label].sum())
    share = f" ({len(positions) / total:.1%})" if total else ""
    st.markdown(
        f"**{len(positions):,} of {total:,}** images labeled {CLASSES[label]} are predicted as {CLASSES[answer]}"
        f"{share}."
    )
    grid(result, split, positions, f"cell-{split}-{label}-{answer}-{number}")
    files = {
        "confusion": lambda: assessment.confusion_csv(answers),
        "predictions": lambda: assessment.predictions_csv(result.stored, split, answers),
    }
    with st.container(horizontal=True):
        for name, make in files.items():
            file_name = f"{labels.file_stem(result.run)}-{split}-{name}.csv"
            formatting.csv_button(f"{name.capitalize()} (CSV)", make, file_name, f"download_{name}{number}")


def extremes(result: Assessment, split: str, number: int) -> None:
    """Show confident mistakes, least confident correct images, or those outvoted by neighbors."""
    kind = address.linked_choice("Images", "kind", KINDS, "mistakes") if not number else st.session_state["kind"]
    answers = result.calibrated.split(split)
    st.markdown(f"{_ABOUT[kind]} {_WRONG_LABELS if kind == 'mistakes' and result.is_cifar10 else ''}")
    notes: dict[int, str] = {}
    if kind == "mistakes":
        positions = predictions.confident_mistakes(answers)
    elif kind == "lucky":
        positions = predictions.least_confident_correct(answers)
    else:
        model, images = open_classifier(result.run.id), result.images(split)
        if images is None or model.index is None:
            reason = "This needs the run's images and its index of training images; one of them is missing."
            st.caption(formatting.plain(" ".join(model.problems)) or reason)
            return
        positions, counts = _outvoted(result, split, images, model)
        notes = {
            i: f"{n} of {predictions.NEIGHBOR} agree" for i, n in zip(positions.tolist(), counts.tolist(), strict=True)
        }
    if not len(positions):
        st.caption("There are no such images.")
        return
    grid(result, split, positions, f"{kind}-{split}-{number}", notes)


@st.cache_resource(max_entries=8, show_spinner="Finding the nearest training images", hash_funcs=FILES)
def _outvoted(result: Assessment, split: str, _images: np.ndarray, _model: Classifier) -> tuple[np.ndarray, np.ndarray]:
    assert _model.index is not None  # for mypy
    return predictions.outvoted_by_neighbors(result.calibrated.split(split), _images, _model.features, _model.index)


def examples(result: Assessment, split: str, cells: list[tuple[int, int]], number: int) -> None:
    """Show the most confident images of some cells, each (label, prediction)."""
    answers, images = result.calibrated.split(split), result.images(split)
    if images is None:
        return
    shown = [int(i) for cell in cells for i in predictions.images_in_cell(answers, *cell)[:_EXAMPLES]]
    tiles.show([tile(answers, images, i) for i in shown], f"examples{number}", width=84)


def _choose_cell(answers: Predictions) -> None:
    """Initialize the selected cell: from the URL ("cat-dog"), else the most frequent mistake."""
    if address.decides("cell_label") or "cell_answer" not in st.session_state:
        cells = {f"{label}-{answer}": (label, answer) for label in CLASSES for answer in CLASSES}
        worst = "-".join(CLASSES[i] for i in predictions.worst_cell(answers))
        cell = st.query_params.get("cell", worst)
        cell = cell if address.known("cell", cell, cells) else worst
        st.session_state["cell_label"], st.session_state["cell_answer"] = cells[cell]


def _take_cell(number: int) -> None:
    """Select the clicked cell."""
    if 0 <= number < len(CLASSES) ** 2:
        label, answer = divmod(number, len(CLASSES))
        st.session_state["cell_label"], st.session_state["cell_answer"] = CLASSES[label], CLASSES[answer]
        _link_cell()


def _link_cell() -> None:
    st.query_params["cell"] = f"{st.session_state['cell_label']}-{st.session_state['cell_answer']}"


def tile(answers: Predictions, images: np.ndarray, position: int, note: str | None = None) -> Tile:
    """Return an image with its prediction and `note`, by default the label if the prediction is wrong."""
    best, label = int(answers.probabilities[position].argmax()), int(answers.labels[position])
    title = f"{CLASSES[best]} {formatting.share(float(answers.probabilities[position, best]))}"
    note = note or (f"labeled {CLASSES[label]}" if best != label else "")
    return Tile(answer_charts.png(images[position]), f"Image {position + 1}", title, note, "wrong" * (best != label))


def grid(result: Assessment, split: str, positions: np.ndarray, key: str, notes: dict[int, str] | None = None) -> None:
    """Show the images at `positions` of a split in pages, and an explanation of the selected one, if any."""
    if not len(positions):
        return
    answers, images = result.calibrated.split(split), result.images(split)
    if images is None:
        st.info(f"The figures of this run's images, without pictures: {dataset_notice.no_pictures()}")
        _as_table(answers, positions, key)
        return
    place = st.container()
    shown = tiles.page(positions.tolist(), A_PAGE, f"page-{key}")
    with place:
        made = [tile(answers, images, i, (notes or {}).get(i)) for i in shown]
        chosen = tiles.pick(made, shown, f"tiles-{key}")
    if chosen not in shown:
        st.caption("Choose an image to see the evidence for its prediction and its label.")
        return
    model, probabilities = open_classifier(result.run.id), answers.probabilities[chosen]
    _explain(model, images[chosen], probabilities, int(answers.labels[chosen]), key)


def _explain(model: Classifier, image: np.ndarray, probabilities: np.ndarray, label: int, key: str) -> None:
    """Show one image with heat maps for prediction and label, and its ten probabilities."""
    heats = picture_view.saliency(model, image)
    picture = Image.fromarray(image)
    with st.container(border=True):
        shown = [Tile(answer_charts.png(picture), "The chosen image", f"labeled {CLASSES[label]}")]
        for i in dict.fromkeys((int(probabilities.argmax()), label)):
            heat, name = explain.overlay(picture, heats[i], side=_SIDE), CLASSES[i]
            shown.append(
                Tile(answer_charts.png(heat), f"Heat map of the chosen image for {name}", f"evidence for {name}")
            )
        tiles.show(shown, f"mistake-{key}", width=_SIDE)
        picture_view.bars(probabilities, key)
        st.caption(":green[Green] is evidence for the class, :red[red] against it (occlusion).")


def _as_table(answers: Predictions, positions: np.ndarray, key: str) -> None:
    shown = positions[:200]
    probabilities = answers.probabilities[shown]
    columns = {
        "position": shown.tolist(),
        "label": [CLASSES[label] for label in answers.labels[shown]],
        "answer": [CLASSES[answer] for answer in probabilities.argmax(axis=1)],
        "probability": (100 * probabilities.max(axis=1)).tolist(),
    }
    tables.show(columns, f"table-{key}", {"probability": formatting.SHARE_COLUMN}, height=320)
