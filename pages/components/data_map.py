"""Data map on *Evaluate*: hard, possibly mislabeled, similar and forgotten images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from cifar_core.charts import answers as answer_charts
from cifar_core.charts import data_map as charts
from cifar_core.data.cifar10 import CLASSES
from cifar_core.errors import RunError
from cifar_core.evaluation import data_map, predictions
from cifar_core.evaluation.assessment import Assessment
from cifar_core.evaluation.data_map import Dynamics, FeatureMap
from cifar_core.inference.classifier import open_classifier
from cifar_core.inference.neighbors import NEIGHBOR
from cifar_core.jobs import Job
from cifar_core.runs import Run
from pages.components import address, confusion, formatting, guarded, live_chart, run_picker

PARTS = {"hard": "Easy and hard", "labels": "Possibly mislabeled", "alike": "Alike", "forgotten": "Forgotten"}
_OLD = (
    "This run has no predictions after each epoch: it was imported, made from another run or by a search, or trained "
    "with an older version. Train it again to get them."
)


def section(result: Assessment, split: str) -> None:
    """Show the selected part. All except the labels use validation images, whatever `split`."""
    part = address.linked_choice("Part", "part", PARTS, "hard", label_visibility="collapsed")
    if part == "labels":
        guarded.fragment(_labels)(result, split)
    elif part == "alike":
        task = data_map.job(result.run)
        guarded.polled(_alike, lambda: task.is_running)(result, task)
    else:
        known = _known(result.run)
        if known is None:
            st.info(_OLD)
        else:
            guarded.fragment(_hard if part == "hard" else _forgotten)(result, known)


@st.cache_resource(
    max_entries=8, show_spinner=False, hash_funcs=run_picker.by_files(data_map.EPOCHS_FILE, "metrics.jsonl")
)
def _known(run: Run) -> Dynamics | None:
    return data_map.load_dynamics(run)


def _hard(result: Assessment, known: Dynamics) -> None:
    st.markdown(
        f"Each dot is a validation image. **Easy** ones have a high probability of their label in all "
        f"{len(known.names)} epochs, **hard** ones a low one, **ambiguous** ones change (Swayamdipta et al. 2020). "
        "Click a dot, or draw a box around several."
    )
    chosen = _chosen(result.run)
    alt = "Mean probability of the label against its standard deviation, a dot for each image."
    _show(charts.hardness_figure(known, chosen), alt, result.run, "hard")
    order = np.argsort(-known.variability, kind="stable")
    _images(result, chosen or order.tolist(), "The most ambiguous first.", chosen)


def _labels(result: Assessment, split: str) -> None:
    answers = result.calibrated.split(split)
    positions, notes = _suspects(result, split)
    st.markdown(
        f"**{len(positions):,} of {len(answers.labels):,}** {split} images are possibly mislabeled, according to this "
        "model, the most doubtful first. The model can be wrong, too: check each image.",
        help="Confident learning (Northcutt et al. 2021), by cleanlab: the share of confident predictions that "
        "contradict a class gives the number of images, a low probability of their label selects them.",
    )
    confusion.grid(result, split, positions, f"labels-{split}", notes)


@st.cache_resource(max_entries=8, show_spinner="Comparing labels and predictions", hash_funcs=confusion.FILES)
def _suspects(result: Assessment, split: str) -> tuple[np.ndarray, dict[int, str]]:
    """Return the positions, most doubtful first, and a note on the label and nearest images of each."""
    answers, images, model = result.calibrated.split(split), result.images(split), open_classifier(result.run.id)
    positions, index = predictions.possibly_mislabeled(answers), model.index
    nearest = [""] * len(positions)
    if images is not None and index is not None and len(positions):
        places, _ = index.nearest(model.features(images[positions]), min(NEIGHBOR, len(index.labels)))
        counts = (Counter(index.labels[row].tolist()).most_common(2) for row in places)
        nearest = [f"; nearest: {', '.join(f'{n} {CLASSES[label]}' for label, n in votes)}" for votes in counts]
    notes = [f"labeled {CLASSES[label]}" for label in answers.labels[positions]]
    return positions, {i: a + b for i, a, b in zip(positions.tolist(), notes, nearest, strict=True)}


def _alike(result: Assessment, task: Job) -> None:
    """Draw the t-SNE map, its progress, or the button that makes it."""
    state = task.read()
    try:
        known = data_map.load_map(result.run, len(result.calibrated.validation.labels))
    except RunError as error:
        known = None
        guarded.problem(error)
    st.markdown(
        f"Up to {data_map.IMAGES:,} validation images: images with similar features are close to each other "
        "(t-SNE). Colors are classes; a ring marks a wrong prediction. Distances between groups are not "
        "meaningful."
    )
    if state["state"] == "working":
        done, total = state.get("done") or 0, state.get("total") or 1
        st.progress(min(done / total, 1.0), "Making the map, some 20 seconds")
        guarded.stop_button(task, "stop_map")
    elif known is not None:
        _maps(result, known)
    else:
        if state["state"] == "failed":
            guarded.problem(state["error"])
        guarded.button("Make the map", task.start, key="make_map", icon=":material/scatter_plot:", busy="Starting")


def _maps(result: Assessment, known: FeatureMap) -> None:
    """Draw the map, or both, and the images that were chosen in them."""
    run, answers, images = result.run, result.calibrated.validation, result.images("validation")
    chosen, sheet = _chosen(run), None
    if images is not None:
        sheet = {"key": "map_sheet", "numbers": known.positions.tolist()}
        with st.container(key="map_sheet"):  # hidden: the charts cut their pictures out of it
            st.image(_sheet(run, images[known.positions]), alt="")
    if known.before is None:
        maps = {"By the run's features": known.after}
    else:
        maps = {"Before training": known.before, "After fine-tuning": known.after}
    for column, (title, places) in zip(st.columns(len(maps)), maps.items(), strict=True):
        with column:
            shown = (places, known.positions, answers.labels, answers.is_correct, chosen)
            alt = f"{title}: {len(known.positions):,} images, similar ones close to each other."
            _show(charts.feature_figure(title, *shown), alt, run, title, sheet)
    st.caption(f"Made in {formatting.seconds(known.seconds)}.")
    with st.container(key="wide_map_words"):  # a phone has neither
        both = "Dots that you point at or choose are marked in both maps." if len(maps) > 1 else ""
        st.caption(f"Zoom in with the magnifier above a map to see the images. {both}")
    wrong = known.positions[~answers.is_correct[known.positions]]
    _images(result, chosen or wrong.tolist(), "The wrong predictions.", chosen)


def _forgotten(result: Assessment, known: Dynamics) -> None:
    times = known.forgotten
    positions = np.argsort(-times, kind="stable")[: int((times > 0).sum())]
    st.markdown(
        f"**{len(positions):,} of {len(times):,}** validation images were correct after one epoch and wrong after the "
        "next, most often first (Toneva et al. 2019). Images that are forgotten often are ambiguous or mislabeled."
    )
    notes = {i: f"forgotten {times[i]} times" if times[i] > 1 else "forgotten once" for i in positions.tolist()}
    confusion.grid(result, "validation", positions, "forgotten", notes)
    with st.container(width=700):
        name = st.select_slider("Confusion matrix after", known.names, known.names[-1], key="map_epoch")
        answers = known.after(known.names.index(name))
        st.caption(f"Validation accuracy {answers.accuracy:.1%}")
        figure = answer_charts.confusion_figure(predictions.confusion_counts(answers))
        alt = f"Confusion matrix of the validation images after {name}."
        live_chart.draw(figure, "map_confusion", alt, live_chart.NO_TOOLBAR)


@st.cache_resource(max_entries=4, show_spinner=False, hash_funcs=run_picker.by_files(data_map.MAP_FILE))
def _sheet(run: Run, _images: np.ndarray) -> bytes:
    return charts.sheet(_images)


def _show(figure: go.Figure, alt: str, run: Run, key: str, sheet: Mapping[str, Any] | None = None) -> None:
    """Show a figure with selectable points; for `sheet` see `live_chart.chart`."""

    def take(numbers: list[int]) -> None:
        st.session_state[f"map_{run.id}"] = numbers

    chart = live_chart.chart(figure, alt, run.id, charts.TOOLS, True, sheet)
    live_chart.show(chart, f"map_{key}", on_select=take)


def _chosen(run: Run) -> list[int]:
    """Return the positions of the selected images, by default none."""
    return list(st.session_state.get(f"map_{run.id}", []))


def _images(result: Assessment, positions: list[int], otherwise: str, chosen: list[int]) -> None:
    st.markdown(f"**{len(chosen):,} chosen**" if chosen else otherwise)
    images = len(result.calibrated.validation.labels)
    sound = np.array([i for i in positions if 0 <= i < images], int)
    confusion.grid(result, "validation", sound, f"map-{'chosen' if chosen else 'first'}")
