"""One picture on *Classify*: the answer, the crop, and why."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st
from PIL import Image, ImageDraw

from cifar_core import charts, runs
from cifar_core.charts import inference as inference_charts
from cifar_core.charts.style import VALIDATION
from cifar_core.data import cifar10
from cifar_core.errors import CifarError
from cifar_core.evaluation import listing, predictions
from cifar_core.evaluation.predictions import with_fingerprint
from cifar_core.inference import calibration, explain, pictures, what_if
from cifar_core.inference.classifier import BUNDLED, Answers, Classifier, has_bundled, open_classifier
from cifar_core.inference.pictures import Crop, Picture
from cifar_core.untrusted import shown_name
from pages.components import address, formatting, messages, pinned, run_picker, run_state, uploads

VIEWS = {
    "why": ":material/visibility: Why",
    "whatif": ":material/tune: What if",
    "compare": ":material/compare: Other runs",
    "sure": ":material/speed: Calibration",
}
CROPS = {"centre": "its centre", "squeeze": "all of it, squeezed", "own": "my own square"}
BUNDLED_TITLE = "bundled model"
_NEIGHBOURS = 8
_MOST_COMPARED = 3
_PLAIN_BARS = {"displayModeBar": False}


def crop_choice() -> str:
    """Let a person choose what of a picture that is not square the network gets."""
    return address.linked_choice("Of a picture that is not square, the network gets", "crop", CROPS, "centre")


def crop_of(picture: Picture, chosen: str) -> Crop:
    """Return the crop of a picture: its own square where it has one and squares of one's own are chosen."""
    if chosen == "squeeze":
        return "squeeze"
    own = st.session_state.get("own_crops", {}).get(picture.key)
    return own if chosen == "own" and own else "centre"


def closer(model: Classifier, picture: Picture, chosen: str) -> None:
    """Show one picture and its answer; a fragment, so that its sliders move nothing else on the page."""
    with st.container(border=True):
        place = st.container()
        if chosen == "own":
            _crop_sliders(picture)
        crop = crop_of(picture, chosen)
        seen = picture.network_input(crop)
        answers = model.answer(seen[None])
        with place:
            headline(answers)
            with st.container(key="cards_picture"):
                photo, small, bars = st.columns([1.2, 1, 2], vertical_alignment="top")
            preview = bounded(_with_box(picture.image, crop))
            photo.image(preview, width="stretch", caption=messages.file_name(picture.name))
            small.image(
                formatting.enlarged(seen[None], 8, 0), width="stretch", caption="what the network sees: 32×32 pixels"
            )
            with small:
                pinned.pin_button(seen, shown_name(picture.name))
            figure = charts.probability_figure(answers.probabilities[0], cifar10.CLASSES)
            bars.plotly_chart(figure, key="bars0", config=_PLAIN_BARS)
        view = address.linked_choice("More about it", "view", VIEWS, "why")
        try:
            if view == "why":
                _why(model, picture, crop, seen, answers)
            elif view == "whatif":
                _what_if(model, seen)
            elif view == "compare":
                _other_runs(model, seen)
            else:
                how_sure(model, answers)
        except CifarError as error:
            messages.problem(error)


def headline(answers: Answers) -> None:
    """Show the answer, and under it a note where the picture is out-of-distribution."""
    best = int(answers.labels[0])
    st.markdown(f"#### {cifar10.CLASSES[best]}, {formatting.share(answers.probabilities[0, best])}")
    if answers.is_unusual[0]:
        degree = "Very unusual" if answers.is_very_unusual[0] else "Unusual"
        st.markdown(
            f":orange-badge[:material/help: {degree} for this model] Compare the nearest training images.",
            help="Out-of-distribution: the picture is farther from the training images than nearly all "
            "validation images, or than all of them (*very*). The answer may still be right; *Calibration* shows the "
            "distance.",
        )


def _crop_sliders(picture: Picture) -> None:
    own = st.session_state.setdefault("own_crops", {})
    left, top, right, _ = pictures.crop_box(picture.image.size, "centre")
    width, height = picture.image.size
    x, y, side = own.get(picture.key, (left / width, top / height, (right - left) / min(width, height)))
    columns = st.columns(3)
    options: dict[str, Any] = {"min_value": 0.0, "max_value": 1.0, "step": 0.01}
    x = columns[0].slider("From the left", value=float(x), key=f"crop_x_{picture.key}", **options)
    y = columns[1].slider("From the top", value=float(y), key=f"crop_y_{picture.key}", **options)
    options["min_value"] = 0.05
    side = columns[2].slider("Side of the square", value=float(side), key=f"crop_side_{picture.key}", **options)
    own[picture.key] = (x, y, side)


def _with_box(image: Image.Image, crop: Crop) -> Image.Image:
    """Return the photo with the part that the network gets drawn in, the rest pale."""
    box = pictures.crop_box(image.size, crop)
    if box == (0, 0, *image.size):
        return image
    pale = Image.blend(image, Image.new("RGB", image.size, "#888888"), 0.55)
    pale.paste(image.crop(box), box[:2])
    thick = max(1, max(image.size) // 150)
    ImageDraw.Draw(pale).rectangle((box[0], box[1], box[2] - 1, box[3] - 1), outline=VALIDATION, width=thick)
    return pale


def bounded(image: Image.Image) -> Image.Image:
    """Return `image` on gray where it is so narrow that it would fill the page, at least a fortieth as thin as long."""
    width, height = image.size
    wide, high = max(width, height // 2), max(height, width // 4)
    if (wide, high) == image.size:
        return image
    ground = Image.new("RGB", (wide, high), "#888888")
    shown = image.resize((max(width, wide // 40), max(height, high // 40)))
    ground.paste(shown, ((wide - shown.width) // 2, (high - shown.height) // 2))
    return ground


def _why(model: Classifier, picture: Picture, crop: Crop, seen: np.ndarray, answers: Answers) -> None:
    best = int(answers.labels[0])
    address.linked("class", ("", *cifar10.CLASSES), "")
    left, right = st.columns([1, 1.5])
    with left:
        asked = st.selectbox(
            "What speaks for",
            ["", *cifar10.CLASSES],
            key="class",
            format_func=lambda name: name or "the answer",
            persist_state="session",
        )
        address.link("class", asked, "")
        label = cifar10.CLASSES.index(asked) if asked else best
        heat = saliency(model, seen)[label]
        strength = st.slider("Strength", 0.0, 1.0, 0.7, 0.05, key="strength", persist_state="session")
        part = picture.image.crop(pictures.crop_box(picture.image.size, crop))
        st.image(explain.overlay(part, heat, strength), width=320)
        st.caption(
            f":orange[Orange] speaks for {cifar10.CLASSES[label]}, :violet[purple] against it. Found by covering one "
            "part after the other, all in one batch (occlusion, Zeiler & Fergus 2014)."
        )
    with right:
        _neighbours(model, seen)


def saliency(model: Classifier, seen: np.ndarray) -> np.ndarray:
    """Return the heat of all ten classes, computed once for a picture: the sliders only draw it anew."""
    key = (model.name, seen.tobytes())
    known = st.session_state.get("saliency")
    if known is None or known[0] != key:
        known = key, explain.saliency(model.calibrated, seen)
        st.session_state["saliency"] = known
    return known[1]


def _neighbours(model: Classifier, seen: np.ndarray) -> None:
    index = model.index
    st.markdown("**The nearest training images**, in the network's own eyes")
    if index is None:
        st.caption("This run was trained before such an index was kept; runs that are trained now have it.")
        return
    count = min(_NEIGHBOURS, len(index.labels))
    places, distances = index.nearest(model.features(seen[None]), count)
    known = with_fingerprint(index.data)
    images = known.train_images if known and index.rows.max() < len(known.train_images) else None
    with st.container(horizontal=True, key="neighbours"):
        for place, distance in zip(places[0], distances[0], strict=True):
            with st.container(width=104, gap="small"):
                if images is not None:
                    st.image(formatting.enlarged(images[index.rows[place]][None], 4, 0), width=104)
                st.markdown(f"**{cifar10.CLASSES[index.labels[place]]}**  \n:gray[{distance:.2f} away]")
    if images is None:
        st.caption(f"Without pictures, only their labels: {messages.no_pictures()}")
    agree = np.bincount(index.labels[places[0]], minlength=len(cifar10.CLASSES))
    st.caption(
        f"{agree.max()} of the {count} are labelled {cifar10.CLASSES[agree.argmax()]}. Found among "
        f"{len(index.labels):,} training images, by the distance between features of length 1, 0 to 2."
    )


def _what_if(model: Classifier, seen: np.ndarray) -> None:
    left, right = st.columns([1.6, 1])
    with left:
        st.button("As it was", icon=":material/undo:", key="undo", on_click=_undo, type="tertiary")
        places, setting = {}, {}
        for change in what_if.CHANGES.values():
            setting[change.name] = st.slider(
                f"{change.label} ({change.unit})" if change.unit else change.label,
                float(change.low),
                float(change.high),
                float(change.neutral),
                float(change.step),
                key=f"whatif_{change.name}",
                help=change.help,
                persist_state="session",
            )
            places[change.name] = st.empty()
    said, sweeps = what_if.sweeps(model.calibrated, seen, setting)
    answer = int(said.argmax())
    for name, place in places.items():
        figure = inference_charts.sweep_figure(what_if.CHANGES[name], sweeps[name], setting[name], answer)
        place.plotly_chart(figure, key=f"sweep_{name}", config=_PLAIN_BARS)
    with right:
        st.markdown(f"#### {cifar10.CLASSES[answer]}, {formatting.share(said[answer])}")
        st.image(formatting.enlarged(what_if.changed(seen, setting)[None], 8, 0), width=256)
        st.plotly_chart(charts.probability_figure(said, cifar10.CLASSES, 300), key="bars_whatif", config=_PLAIN_BARS)
        st.caption(
            "Under each slider: how sure the answer stays over its whole range, the others as they are set. "
            "A dotted line is where the answer flips."
        )


def _undo() -> None:
    for name, value in what_if.neutral().items():
        st.session_state[f"whatif_{name}"] = float(value)


def _other_runs(model: Classifier, seen: np.ndarray) -> None:
    is_asked = (
        len(uploads.pictures()) > 1 and st.session_state.get("classify:sort") == "disagree"
    )  # above, by the gallery
    chosen = [open_classifier(name) for name in st.session_state["with"]] if is_asked else compared_runs(model)
    if not chosen:
        st.caption("There is no other model yet: train a second run, with another width or size, and compare.")
        return
    models = [model, *chosen]
    said = np.stack([one.answer(seen[None]).probabilities[0] for one in models])
    tops = said.argmax(axis=1)
    if len(set(tops.tolist())) == 1:
        st.markdown(f"All {len(models)} say **{cifar10.CLASSES[tops[0]]}**.")
    else:
        st.markdown(f"They **disagree**: {', '.join(sorted({cifar10.CLASSES[top] for top in tops}))}.")
    with st.container(key="wide_compare"):
        columns = st.columns(len(models))
    for number, (column, one) in enumerate(zip(columns, models, strict=True)):
        title = messages.plain(model_title(one.name))
        column.markdown(
            f"**{cifar10.CLASSES[tops[number]]}**, {formatting.share(said[number].max())}  \n:gray[{title}]"
        )
        figure = charts.probability_figure(said[number], cifar10.CLASSES, 300)
        column.plotly_chart(figure, key=f"bars_run{number}", config=_PLAIN_BARS)


def compared_runs(model: Classifier) -> list[Classifier]:
    """Let a person choose the models to compare with `model`, three at most."""
    titles = models()
    titles.pop(model.name, None)
    names = list(titles)
    if not names:
        return []
    if "with" not in st.session_state:
        st.session_state["with"] = address.asked_runs("with", names, _MOST_COMPARED) or names[:1]
    st.session_state["with"] = [name for name in st.session_state["with"] if name in names]
    chosen = st.multiselect(
        "Compare with",
        names,
        key="with",
        format_func=titles.__getitem__,
        max_selections=_MOST_COMPARED,
        persist_state="session",
    )
    st.query_params["with"] = chosen
    return [open_classifier(name) for name in chosen]


def models() -> dict[str, str]:
    """Return what can classify, with its name for a list: finished runs, newest first, and the bundled model."""
    return run_state.run_titles(run_picker.own(listing.classifiers())) | (
        {BUNDLED: BUNDLED_TITLE} if has_bundled() else {}
    )


def model_title(name: str) -> str:
    """Return a model's name for a list."""
    return BUNDLED_TITLE if name == BUNDLED else run_state.run_title(listing.row(runs.Run(name)))


def how_sure(model: Classifier, answers: Answers) -> None:
    """Show how far the model's claims can be trusted."""
    known = model.calibration
    if known is None:
        st.caption("This run was trained before calibration was kept; its probabilities are as the network says them.")
        return
    kind = "more sure than it should be" if known.temperature > 1 else "less sure than it should be"
    left, right = st.columns([1.3, 1])
    with left:
        figure = _reliability(model.name, known.temperature)
        if figure is not None:
            st.plotly_chart(figure, key="reliability", config={"displaylogo": False})
        else:
            st.caption("The reliability diagram needs the run's own predictions, which this model does not have.")
    with right:
        st.markdown(
            f"Left alone, this network is **{kind}**. So its logits are divided by a temperature of "
            f"**{known.temperature:.2f}**, found on {known.images:,} validation images (Guo et al. 2017). The answer "
            f"stays, the claim changes: the calibration error goes from {known.ece[0]:.1%} to **{known.ece[1]:.1%}**."
        )
        rule = known.out_of_distribution
        if rule:
            _distance(rule, answers)


def _distance(rule: calibration.OutOfDistribution, answers: Answers) -> None:
    """Show how far the picture is from the training images, and what the threshold is worth."""
    score = float(answers.scores[0])
    verdict = (
        "above the threshold, so it is **out-of-distribution**" if answers.is_unusual[0] else "below the threshold"
    )
    caught = ", ".join(f"{share:.0%} of {messages.plain(kind)}" for kind, share in rule.caught.items())
    st.markdown(
        f"The distance of this picture to its 10th nearest training image is **{score:.2f}**; the threshold is "
        f"{rule.threshold:.2f}. It is {verdict}."
    )
    st.caption(
        f"{rule.level:.0%} of the validation images and {rule.kept:.1%} of the test images are below the threshold. "
        f"Above it are {caught} ({rule.pictures} drawings of each kind). Photos of other things are often below it."
    )


@st.cache_resource(max_entries=8, show_spinner=False)
def _reliability(name: str, temperature: float) -> Any:
    if name == BUNDLED:
        return None
    validation = predictions.load(runs.get(name)).validation
    before = calibration.reliability(validation.probabilities, validation.labels)
    after = calibration.reliability(calibration.scaled(validation.probabilities, temperature), validation.labels)
    return inference_charts.reliability_figure(before, after, f"{len(validation.labels):,} validation images")


def verdict(answers: Answers, number: int) -> str:
    """Return the answer to one of many pictures, for a caption."""
    note = " :orange[:material/help: unusual]" if answers.is_unusual[number] else ""
    share = formatting.share(answers.probabilities[number].max())
    return f"**{cifar10.CLASSES[int(answers.labels[number])]}** {share}{note}"
