"""The model of a project on *Teach*: accuracy, confusion matrix, warnings, settings, export."""

import functools
import html
from collections.abc import Callable
from typing import Any

import numpy as np
import streamlit as st

from cifar_core.errors import CifarError
from cifar_core.evaluation.predictions import confusion_counts
from cifar_core.network.litert import LAST_LAYER
from cifar_core.teach import model as models
from cifar_core.teach import project as projects
from cifar_core.teach.model import Model
from cifar_core.teach.project import Project
from pages.components import formatting, guarded

_ONCE = "A new value computes the features of all pictures once; they are kept, so going back is instant."
_ABOUT_BLOCK = (
    "The block whose features are used: early blocks detect edges and colors, late blocks parts of objects; the last "
    "layer comes after block 17."
)
_ABOUT_STRENGTH = "Penalty on large weights (ridge, L2); raise it if there are few pictures."
_SETTINGS: dict[str, tuple[str, tuple[Any, ...], Callable[[Any], str], str]] = {
    "alpha": ("Width α", projects.ALPHAS, "{:g}".format, f"Wider networks are more accurate and slower. {_ONCE}"),
    "image_size": ("Input size", projects.IMAGE_SIZES, "{} px".format, f"Pictures are scaled to this side. {_ONCE}"),
    "block": ("Block", projects.BLOCKS, lambda block: "last" if block == LAST_LAYER else str(block), _ABOUT_BLOCK),
    "strength": ("Regularization", projects.STRENGTHS, "{:g}".format, _ABOUT_STRENGTH),
}
_FORMATS = {
    "html": ("Web page", ":material/language:", "One file that classifies in any browser, also offline."),
    "litert": ("LiteRT", ":material/memory:", "For phones and small machines."),
    "litert-int8": ("LiteRT int8", ":material/memory:", "The same with 8-bit weights, a third of the size."),
    "onnx": ("ONNX", ":material/hub:", "For ONNX Runtime and browsers."),
    "zip": ("Pictures", ":material/folder_zip:", "A ZIP file with a folder for each class; can be imported."),
}
_WHY = (
    "Cross-validation: the pictures are split into up to five folds, and each fold is predicted by a model trained on "
    "the others. Frames of one burst and near-duplicates stay in one fold, so that copies do not raise the accuracy. "
    "In brackets: the 95% confidence interval."
)
_SLOW = 50  # pictures; the features of fewer take a fraction of a second
_MOST_TRIED, _MOST_WARNINGS = 6, 3
_MOST_HEADS = 6  # most columns with names; with more classes they get numbers


def model(name: str) -> Model | None:
    """Return the model of a project, refitted after a change. If it cannot be fitted, show why and return None."""
    stamp = (name, projects.stamp(name))
    place = st.empty()
    if st.session_state.get("taught", (None,))[0] != stamp:
        bar = functools.cache(lambda: place.container(key="teach_progress", border=True).empty())

        def report(done: int, total: int) -> None:
            if total >= _SLOW:
                bar().progress(done / total, f"Computing features of {total:,} pictures")

        try:
            opened: Model | CifarError = models.open_model(name, report)
        except CifarError as error:
            opened = error
        place.empty()
        st.session_state["taught"] = stamp, opened
    opened = st.session_state["taught"][1]
    if isinstance(opened, CifarError):
        st.info(formatting.plain(opened), icon=":material/info:")
        return None
    return opened


def result(fitted: Model) -> None:
    """Show accuracy, warnings and confusion matrix."""
    held_out, (low, high) = fitted.fit.held_out, fitted.fit.held_out.interval
    with st.container(key="teach_big"):
        st.markdown(f"### {held_out.accuracy:.0%} correct")
    correct = f"{held_out.is_correct.sum()} of {len(held_out.labels)} pictures"
    st.markdown(f"{correct} ({low:.0%} to {high:.0%}), by cross-validation.", help=_WHY)
    if fitted.backbone.kind == "random":
        st.warning("ImageNet weights are missing and cannot be downloaded. The network starts from random weights, so "
                   "its features are poor.", icon=":material/cloud_off:")  # fmt: skip
    warnings = [f":orange[:material/warning:] {formatting.plain(sentence)}" for sentence in fitted.fit.warnings]
    for line in warnings[:_MOST_WARNINGS]:
        st.markdown(line)
    if len(warnings) > _MOST_WARNINGS:
        with st.expander(f"{len(warnings) - _MOST_WARNINGS} more warnings", key="teach_warnings"):
            st.markdown("\n\n".join(warnings[_MOST_WARNINGS:]))
    st.html(_confusion(confusion_counts(held_out), fitted.project.names))


def _confusion(counts: np.ndarray, names: list[str]) -> str:
    """Return the confusion matrix as an HTML table: rows are classes, columns predictions."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    heads, names = [html.escape(name) for name in names], [html.escape(name) for name in names]
    if len(names) > _MOST_HEADS:
        heads = [str(number) for number in range(1, len(names) + 1)]
        names = [f"{number} {name}" for number, name in enumerate(names, 1)]
    rows = [f"<tr><td></td>{''.join(f'<th scope=col>{head}</th>' for head in heads)}</tr>"]
    for number, name in enumerate(names):
        cells = "".join(
            f"<td class={'right' if number == answer else 'wrong'} style='--share:{shares[number, answer]:.0%}'>"
            f"{count or ''}</td>"
            for answer, count in enumerate(counts[number])
        )
        rows.append(f"<tr><th scope=row>{name}</th>{cells}</tr>")
    return (
        "<div class=scrolled role=region tabindex=0 aria-label=Confusion><table class=confusion>"
        f"<caption>Rows: the class. Columns: the prediction.</caption>{''.join(rows)}</table></div>"
    )


def settings(name: str, project: Project) -> None:
    """Draw the sliders of the model settings; a change refits the model."""
    columns = [*st.columns(2), *st.columns(2)]
    for column, (setting, (label, options, words, about)) in zip(columns, _SETTINGS.items(), strict=True):
        key = f"teach_{setting}"
        st.session_state[key] = getattr(project, setting)
        change: dict[str, Any] = {"on_change": guarded.attempt, "args": (_set, name, setting)}
        column.select_slider(label, options, key=key, format_func=words, help=about, **change)


def _set(name: str, setting: str) -> None:
    with projects.changed(name) as project:
        setattr(project, setting, st.session_state[f"teach_{setting}"])


def tried(fitted: Model) -> None:
    """Show the time of the fit, and the accuracy of all settings tried on these pictures."""
    pictures = tuple(sample.key for sample in fitted.project.samples)
    if st.session_state.get("teach_tried_settings", (None,))[0] != pictures:
        st.session_state["teach_tried_settings"] = pictures, {}
    known = st.session_state["teach_tried_settings"][1]
    now = tuple(words(getattr(fitted.project, setting)) for setting, (_, _, words, _) in _SETTINGS.items())
    known[now] = fitted.fit.held_out.accuracy
    st.caption(
        f"Features in {fitted.feature_seconds:.2f} s, fit and cross-validation in {fitted.fit_seconds:.2f} s. "
        f"Weights: {formatting.plain(fitted.backbone.label)}."
    )
    if len(known) > 1:
        best = sorted(known.items(), key=lambda row: -row[1])[:_MOST_TRIED]
        heads = "".join(f"<th>{head}</th>" for head in ("α", "size", "block", "reg.", "correct"))
        lines = (
            f"<tr{' class=now' if chosen == now else ''}>{''.join(f'<td>{value}</td>' for value in chosen)}"
            f"<td>{share:.1%}</td></tr>"
            for chosen, share in best
        )
        st.html(f"<table class=tried><caption>Tried on these pictures, best first</caption><tr>{heads}</tr>"
                f"{''.join(lines)}</table>")  # fmt: skip


def export(fitted: Model) -> None:
    """Draw download buttons for the project; files are created on click."""
    with st.popover("Export", icon=":material/ios_share:", key="teach_export", width="stretch"):
        for name, (label, icon, about) in _FORMATS.items():
            st.download_button(
                label,
                functools.partial(fitted.export, name),
                f"{fitted.name}{projects.SUFFIXES[name]}",
                key=f"teach_export_{name}",
                icon=icon,
                help=about,
                on_click="ignore",
                width="stretch",
            )
        st.caption(f"Command: `python -m cifar_core predict --run {projects.PREFIX}{fitted.name} PHOTO`")
