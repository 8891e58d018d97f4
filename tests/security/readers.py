"""Whatever reads a run, on the pages and on the command line."""

import contextlib
import json

import numpy as np

from cifar_core.charts import answers as answer_charts
from cifar_core.charts import training as training_charts
from cifar_core.cli import run_commands
from cifar_core.errors import CifarError
from cifar_core.evaluation import assessment, comparison, listing, phase_summary, predictions, robustness
from cifar_core.export import bundle, exports
from cifar_core.export.exports import MODELS
from cifar_core.inference import model_file, pins
from cifar_core.inference.classifier import open_classifier
from cifar_core.lessons import experiments
from cifar_core.runs import Run, curves, labels


def _drawn(run: Run) -> None:
    found_curves = curves.curves(run.metrics(), {"head": 2})
    for metric in ("accuracy", "loss"):
        training_charts.metric_figure(found_curves, metric, found_curves).to_json()
        training_charts.overlay_figure([("a", found_curves)], metric, "time", 0.5).to_json()


def _listed(run: Run) -> None:
    listing._cache.clear()
    rows = listing.rows()
    for order in listing.ORDERS:
        listing.sort_rows(rows, order)
    json.dumps([listing.to_dict(row) for row in rows], allow_nan=False)
    for row in rows:
        for share in (row.validation_accuracy, row.test_accuracy):
            assert share is None or 0 <= share <= 1
    listing.to_csv(rows).encode()
    listing.filter_rows(rows, "a name")


def _assessed(run: Run) -> None:
    found = assessment.assess(run)
    json.dumps(assessment.to_json(found)).encode()
    for name in assessment.SPLITS:
        assert 0 <= found.calibrated.split(name).accuracy <= 1
        found.reliability(name)


def _watched(run: Run) -> None:
    watch = pins.watch(run)
    if watch.watched:
        answer_charts.watch_figure(watch, 4.0, True).to_json()


def _robust(run: Run) -> None:
    robustness.state(run)
    measured = robustness.load(run)
    if measured:
        answer_charts.robustness_figure({"a": measured}).to_json()
        assert measured.mean is None or 0 <= measured.mean <= 1


def _answered(run: Run) -> None:
    answers = open_classifier(run.id).answer(np.zeros((1, 32, 32, 3), np.uint8))
    assert answers.probabilities.shape == (1, 10)


def _exported(run: Run) -> None:
    for name in MODELS:
        json.dumps(exports.state(run, name))
    for name in ("script", "csv", "json", "tensorboard"):
        with contextlib.suppress(CifarError):
            exports.content(run, name)


def _carded(run: Run) -> None:
    stored = predictions.load(run)
    json.dumps(bundle.facts(bundle.card(run, stored.validation, stored.test)))


READERS = (
    lambda run: json.dumps([run.status, run.result, run.state], allow_nan=False),
    lambda run: run.config,
    _drawn,
    _listed,
    lambda run: labels.name_of(run).encode(),
    _watched,
    _robust,
    _exported,
    _carded,
    _answered,
    model_file.load_latency,
    lambda run: (phase_summary.parent(run), phase_summary.can_keep_head(run), phase_summary.changes_of(run)),
    lambda run: [comparison.verdict(pair, "a", "b") for pair in comparison.compare([run, run])],
    _assessed,
    lambda run: experiments._provenance(run, run.config, "x").sentence.encode(),
    predictions.dataset_of,
    lambda run: run_commands.detail_lines(run, run_commands.details(run)),
)


def read(run: Run) -> None:
    """Let everything read `run`: each may refuse it in a sentence."""
    for reader in READERS:
        with contextlib.suppress(CifarError):
            reader(run)
