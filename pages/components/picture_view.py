"""One picture on *Classify*: prediction, crop and explanations."""

from typing import Any

import numpy as np
import streamlit as st

from cifar_core import glossary, runs
from cifar_core.charts import answers as answer_charts
from cifar_core.data import cifar10
from cifar_core.evaluation import assessment, listing
from cifar_core.evaluation.assessment import Assessment
from cifar_core.evaluation.predictions import with_fingerprint
from cifar_core.inference import calibration, classifier, explain, model_file, pictures
from cifar_core.inference.calibration import Calibration
from cifar_core.inference.classifier import Answers, Classifier
from cifar_core.inference.pictures import Crop, Picture
from cifar_core.runs import Run
from cifar_core.untrusted import shown_name
from pages.components import (
    activations,
    address,
    dataset_notice,
    formatting,
    live_chart,
    pinned,
    run_picker,
    tiles,
    uploads,
)
from pages.components.tiles import Tile

VIEWS = {"why": "Why", "whatif": "What if", "compare": "Other models", "inside": "Inside", "sure": "How sure"}
BUNDLED_TITLE = "bundled model"
_FILES = (
    "status.json", "config.json", "evaluation.npz", calibration.FILE, "metrics.jsonl", "environment.json", "parent.json"
)  # fmt: skip
_NEIGHBORS = 8
_MOST_COMPARED = 3
_TOP = 3
_NEARLY_CALIBRATED = 0.05  # maximum |temperature - 1|


def crop_of(picture: Picture) -> Crop:
    """Return the crop of a picture: its own square if the user dragged one, else the crop for all pictures."""
    if st.session_state.get("crop") == "squeeze":
        return "squeeze"
    return uploads.own_crops().get(picture.key, "centre")


def seen(picture: Picture) -> np.ndarray:
    """Return the network input of a picture, uint8 (32, 32, 3)."""
    return picture.network_input(crop_of(picture))


def show_picture(model: Classifier, picture: Picture) -> None:
    """Show one picture and its prediction. Use it as a fragment, so that dragging the square reruns nothing else."""
    left, right = st.columns([2, 3], gap="medium")
    crop, pixels = crop_of(picture), seen(picture)
    answers = model.answer(pixels[None])
    with left, st.container(key="photo"):
        uploads.crop_square(picture, crop)
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(formatting.plain(shown_name(picture.name)), width="stretch")
            if isinstance(crop, tuple):
                st.button("Reset", icon=":material/undo:", key="crop_reset", on_click=_reset, args=(picture.key,))
            pinned.pin_button(pixels, shown_name(picture.name))
    with right:
        headline(answers)
        small, large = st.columns([1, 4], wrap=False)
        alt = "What the network sees: the square at 32 by 32 pixels"
        small.image(formatting.enlarged(pixels, 4), caption="What it sees", alt=alt)
        with large:
            bars(answers.probabilities[0], "answer")
        view = address.linked_choice("More about it", "view", VIEWS, "why", label_visibility="collapsed")
        if view == "why":
            _why(model, picture, crop, pixels, answers)
        elif view == "whatif":
            _what_if(model, pixels)
        elif view == "compare":
            _other_runs(model, pixels)
        elif view == "inside":
            formatting.text(activations.ABOUT)
            activations.show(model, pixels, models())
        else:
            how_sure(model, answers)


def _reset(key: str) -> None:
    uploads.own_crops().pop(key, None)


def headline(answers: Answers) -> None:
    """Show the prediction, and a badge if the picture is out-of-distribution."""
    best = int(answers.labels[0])
    with st.container(key="headline"):
        st.markdown(f"## {cifar10.CLASSES[best]}, {formatting.share(answers.probabilities[0, best])}")
        if answers.is_unusual[0]:
            degree = "Very unusual" if answers.is_very_unusual[0] else "Unusual"
            st.markdown(
                f":orange-badge[:material/help: {degree} for this model] Compare the nearest training images.",
                help="Out-of-distribution: the picture is farther from the training images than 99% of the "
                "validation images (*very unusual*: than all of them). The prediction may still be correct; *How "
                "sure* shows the distance.",
            )


def bars(probabilities: np.ndarray, key: str) -> None:
    """Show probabilities, float (10,), as bars: the top three classes, the other seven in an expander."""
    order = np.argsort(-probabilities, kind="stable")
    st.html(formatting.bars(cifar10.CLASSES, probabilities, order[:_TOP]))
    with st.expander("The other seven", key=f"others_{key}"):
        st.html(formatting.bars(cifar10.CLASSES, probabilities, order[_TOP:]))


def tile(image: np.ndarray, answers: Answers, number: int, name: str, truth: str = "") -> Tile:
    """Return a picture, uint8 (32, 32, 3), as a tile with its prediction, compared with `truth` if given."""
    answer = cifar10.CLASSES[int(answers.labels[number])]
    title = f"{answer} {formatting.share(answers.probabilities[number].max())}"
    if truth:
        note, tone = ("correct", "right") if answer == truth else (f"labeled {truth}", "wrong")
    else:
        note, tone = shown_name(name), ""
        if answers.is_unusual[number]:
            note, tone = f"unusual: {note}", "unusual"
    return Tile(answer_charts.png(image), shown_name(name), title, note, tone)


def _why(model: Classifier, picture: Picture, crop: Crop, pixels: np.ndarray, answers: Answers) -> None:
    left, right = st.columns([2, 3])
    with left:
        classes = {"": "the prediction"} | {name: name for name in cifar10.CLASSES}
        chosen = address.linked_select("Evidence for", "class", classes, "", persist_state="session")
        label = cifar10.CLASSES.index(chosen) if chosen else int(answers.labels[0])
        part = picture.image.crop(pictures.crop_box(picture.image.size, crop))
        name = cifar10.CLASSES[label]
        place = st.skeleton(320, width=320)  # the heat map takes half a second
        heat = explain.overlay(part, saliency(model, pixels)[label])
        place.image(heat, width=320, alt=f"Heat map of evidence for {name}")
        st.caption(
            f":green[Green] is evidence for {name}, :red[red] against it. Measured by covering one part after "
            "another (occlusion, Zeiler & Fergus 2014)."
        )
    with right:
        _neighbors(model, pixels)


@st.cache_resource(max_entries=64, show_spinner=False, hash_funcs=run_picker.by_files(model_file.FILE))
def saliency(model: Classifier, seen: np.ndarray) -> np.ndarray:
    """Return the heat maps of all ten classes, cached by model and picture, shared by all sessions."""
    return explain.saliency(model.calibrated, seen)


def _neighbors(model: Classifier, pixels: np.ndarray) -> None:
    index = model.index
    st.markdown("**Nearest training images**")
    if index is None:
        reason = "This run has no index of training images: an older version trained or exported it. Train it again."
        st.caption(formatting.plain(" ".join(model.problems)) or reason)
        return
    count = min(_NEIGHBORS, len(index.labels))
    places, distances = index.nearest(model.features(pixels[None]), count)
    names = [cifar10.CLASSES[label] for label in index.labels[places[0]]]
    known = with_fingerprint(index.data)
    if known is None or index.rows.max() >= len(known.train_images):
        st.markdown(", ".join(f"{name} {far:.2f}" for name, far in zip(names, distances[0], strict=True)))
        st.caption(f"Without pictures, only their labels: {dataset_notice.no_pictures()}")
    else:
        pictures = map(answer_charts.png, known.train_images[index.rows[places[0]]])
        neighbors = [
            Tile(picture, "Training image", name, f"distance {far:.2f}")
            for picture, name, far in zip(pictures, names, distances[0], strict=True)
        ]
        tiles.show(neighbors, "neighbors", width=96)
    most = max(names, key=names.count)
    labeled = f"All {count} are" if names.count(most) == count > 1 else f"{names.count(most)} of the {count} are"
    st.caption(
        f"{labeled} labeled {most}. Found among {len(index.labels):,} training images by the "
        "Euclidean distance between normalized features (0 to 2)."
    )


def _what_if(model: Classifier, pixels: np.ndarray) -> None:
    left, right = st.columns([3, 2])
    with left:
        neutral = {f"whatif_{name}": float(value) for name, value in explain.neutral().items()}
        look: dict[str, Any] = {"icon": ":material/undo:", "type": "tertiary"}
        st.button("Reset", key="whatif_reset", on_click=st.session_state.update, args=(neutral,), **look)
        places, setting = {}, {}
        for key, change in explain.CHANGES.items():
            setting[key] = st.slider(
                f"{change.label} ({change.unit})" if change.unit else change.label,
                float(change.low),
                float(change.high),
                float(change.neutral),
                float(change.step),
                key=f"whatif_{key}",
                help=change.help,
                persist_state="session",
            )
            places[key] = st.empty()
        st.caption(
            "Under each slider: the probability of this prediction over its range. Dotted lines mark where the "
            "prediction changes."
        )
    answers, effects = explain.effects(model.calibrated, pixels, setting)
    answer = int(answers.argmax())
    name = cifar10.CLASSES[answer]
    for key, change in explain.CHANGES.items():
        figure = answer_charts.effect_figure(change, effects[key], setting[key], answer)
        alt = f"Probability of {name} over the range of {change.label}"
        with places[key]:
            live_chart.draw(figure, f"sweep_{key}", alt, live_chart.NO_TOOLBAR)
    with right, st.container(key="changed"):
        st.markdown(f"### {name}, {formatting.share(answers[answer])}")
        changed = formatting.enlarged(explain.changed(pixels, setting), 6)
        st.image(changed, alt="The changed picture")
        bars(answers, "whatif")


def _other_runs(model: Classifier, seen: np.ndarray) -> None:
    has_choice = len(uploads.pictures()) > 1 and st.session_state.get("classify:sort") == "disagree"  # by the gallery
    chosen = (
        [classifier.open_classifier(name) for name in st.session_state["with"]] if has_choice else compared_runs(model)
    )
    if not chosen:
        st.caption("There is no other model yet. Train a second run with another width or input size to compare.")
        return
    models = [model, *chosen]
    probabilities = np.stack([one.answer(seen[None]).probabilities[0] for one in models])
    names = [cifar10.CLASSES[top] for top in probabilities.argmax(axis=1)]
    if len(set(names)) == 1:
        st.markdown(f"{'Both' if len(models) == 2 else f'All {len(models)}'} models predict **{names[0]}**.")
    else:
        st.markdown(f"The models **disagree**: {', '.join(sorted(set(names)))}.")
    for number, (column, one) in enumerate(zip(st.columns(len(models)), models, strict=True)):
        with column:
            st.markdown(f"### {names[number]}, {formatting.share(probabilities[number].max())}")
            st.caption(formatting.plain(model_title(one.name)))
            bars(probabilities[number], f"run{number}")


def compared_runs(model: Classifier) -> list[Classifier]:
    """Draw the multiselect of the models to compare with `model`, at most three; return them."""
    titles = models()
    titles.pop(model.name, None)
    names = list(titles)
    if not names:
        return []
    if address.decides("with"):
        linked = address.known_of("with", st.query_params.get_all("with"), names)
        st.session_state["with"] = linked[:_MOST_COMPARED] or names[:1]
    st.session_state["with"] = [name for name in st.session_state["with"] if name in names]
    chosen = st.multiselect(
        "Compare with",
        names,
        key="with",
        format_func=titles.__getitem__,
        max_selections=_MOST_COMPARED,
        persist_state="session",
    )
    if chosen != (st.query_params.get_all("with") or names[:1]):
        st.query_params["with"] = chosen
    return [classifier.open_classifier(name) for name in chosen]


def models() -> dict[str, str]:
    """Return the available models and their titles: finished runs, newest first, and the bundled model."""
    return run_picker.run_titles(run_picker.own(listing.classifiers())) | (
        {classifier.BUNDLED: BUNDLED_TITLE} if classifier.has_bundled() else {}
    )


def model_title(name: str) -> str:
    """Return a model's title for a list."""
    return BUNDLED_TITLE if name == classifier.BUNDLED else run_picker.run_title(listing.row(runs.Run(name)))


def how_sure(model: Classifier, answers: Answers) -> None:
    """Show the calibration of the model and the picture's distance to the training images."""
    known = model.calibration
    if known is None:
        reason = "This run has no calibration: an older version trained it. Its probabilities are not calibrated."
        st.caption(formatting.plain(" ".join(model.problems)) or reason)
        return
    formatting.text(calibration_words(known))
    left, right = st.columns([1.3, 1])
    with left:
        if model.name == classifier.BUNDLED:
            st.caption("The reliability diagram needs predictions that are stored with a run; this model has none.")
            formatting.text(f"{temperature_words(known)}.")
        else:
            reliability(assessed(runs.Run(model.name)), known, "test")
    with right:
        if known.out_of_distribution:
            _distance(known.out_of_distribution, answers)


@st.cache_resource(max_entries=8, show_spinner="Reading the run", hash_funcs=run_picker.by_files(*_FILES))
def assessed(run: Run) -> Assessment:
    """Return the assessment of a run, cached until its files change."""
    return assessment.assess(runs.get(run.id))


def reliability(result: Assessment, known: Calibration, split: str, number: int = 0) -> None:
    """Show the reliability diagram of a run, before and after temperature scaling, and its errors."""
    before, after = result.reliability(split)
    images = f"{len(result.stored.split(split).labels):,} {split} images"
    figure = answer_charts.reliability_figure(before, after, images, 460)
    alt = "Share of correct predictions against predicted probability, before and after calibration."
    live_chart.draw(figure, f"reliability{number}", alt, formatting.figure_config(f"reliability-{split}"))
    formatting.text(
        f"{temperature_words(known)}: on {images} the expected calibration error (ECE) goes from "
        f"{before.ece:.1%} to **{after.ece:.1%}**."
    )
    error = result.test_error
    formatting.caption(
        f"Root mean square calibration error on test images: {error.value:.1%} (95% interval {error.low:.1%} to "
        f"{error.high:.1%}), bias-corrected (Kumar et al. 2019). A point's size is its number of images."
    )


def calibration_words(known: Calibration) -> str:
    """Return an explanation of calibration, this model's state, and the settings that change it."""
    meaning = "In a calibrated model, 80% of the predictions made with probability 80% are correct."
    if abs(known.temperature - 1) < _NEARLY_CALIBRATED:
        return f"{meaning} This network is **well calibrated** as trained."
    if known.temperature > 1:
        kind, advice = "overconfident", "Raise *Label smoothing* or *Augmentation strength*"
    else:
        kind, advice = "underconfident", "Lower *Label smoothing* or *Dropout*"
    return f"{meaning} As trained, this network is **{kind}**. {advice} on Train to reduce this."


def temperature_words(known: Calibration) -> str:
    """Return how the probabilities are calibrated, as a clause."""
    return (
        f"The logits are divided by a temperature of **{known.temperature:.2f}**, fitted on {known.images:,} "
        "validation images (Guo et al. 2017), which changes the probability but not the prediction"
    )


def _distance(rule: calibration.OutOfDistribution, answers: Answers) -> None:
    """Show the distance of the picture to the training images, and how well the threshold works."""
    score = float(answers.scores[0])
    place = "above the threshold, so it is **out-of-distribution**" if answers.is_unusual[0] else "below the threshold"
    caught = ", ".join(f"{share:.0%} of {formatting.plain(kind)}" for kind, share in rule.caught.items())
    rates = classifier.bundled_figures()["out_of_distribution"]
    st.markdown(
        f"The distance of this picture to its 10th nearest training image is **{score:.2f}**; the threshold is "
        f"{rule.threshold:.2f}. It is {place}.",
        help=glossary.TERMS["out-of-distribution"],
    )
    formatting.caption(
        f"{rule.level:.0%} of the validation images and {rule.kept:.1%} of the test images are below the threshold. "
        f"Above it are {caught} ({rule.pictures} drawings of each kind). "
        f"Of {rates['photographs']} photos of other things, the bundled model misses "
        f"{rates['photographs_missed']:.0%}: {rates['photographs_missed_above_90']:.0%} with a probability above 90%, "
        "the rest with a lower one."
    )
