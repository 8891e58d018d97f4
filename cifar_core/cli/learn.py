"""The command `learn`: the lessons."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from cifar_core.cli import describe, train
from cifar_core.cli.terminal import Answer, Screen, complain, native_messages_hidden, number, percent, table
from cifar_core.errors import RunError
from cifar_core.jobs import Stopped
from cifar_core.lessons import experiments, layer_probe
from cifar_core.lessons.catalogue import LESSONS, Lesson, lesson
from cifar_core.lessons.experiments import CONDITIONS, Outcome
from cifar_core.lessons.layer_probe import Layers


def learn(arguments: Namespace) -> Answer:
    """List the lessons, or run one; with --stored show the results that ship with the app."""
    if arguments.lesson is None:
        return _list()
    chosen = lesson(arguments.lesson)
    if chosen.name == layer_probe.LESSON:
        saved = experiments.stored(layer_probe.LESSON)
        found = Layers.from_dict(saved) if arguments.stored else _probe(arguments.json)
        return _answer(chosen, found.to_dict(), found, _layer_lines(found))
    if arguments.stored:
        conditions = experiments.outcomes(experiments.stored(chosen.name))
    else:
        conditions, code = _train(chosen, arguments.again, arguments.json)
        if code:
            return Answer(None, [], code)
    data = {"lesson": chosen.name, "arms": {key: condition.to_dict() for key, condition in conditions.items()}}
    return _answer(chosen, data, conditions, _condition_lines(chosen, conditions))


def _list() -> Answer:
    found = [
        {"name": one.name, "number": one.number, "title": one.title, "runs": len(CONDITIONS.get(one.name, {}))}
        for one in LESSONS.values()
    ]
    rows = [
        (str(one["number"]), str(one["name"]), str(one["title"]), str(one["runs"] or "no training")) for one in found
    ]
    return Answer(found, table(("", "lesson", "", "runs"), rows))


def _train(chosen: Lesson, again: bool, quiet: bool) -> tuple[dict[str, Outcome], int]:
    """Train the conditions that have no finished run, or all; return their outcomes and the exit code."""
    conditions = experiments.start_runs(chosen.name, again)
    with Screen(quiet) as screen:
        screen.line(f"{len(conditions)} runs, one after the other. Ctrl-C stops them, closing the terminal does not.")
        try:
            for key, run in conditions.items():
                screen.line(f"{CONDITIONS[chosen.name][key].label}: run {run.id}")
                train.follow(run, screen)
                code, message = describe.ending(run)
                if message:
                    complain(message)
                    return {}, code
        except KeyboardInterrupt:
            experiments.stop_runs(chosen.name)
            return {}, 130
    with native_messages_hidden():
        return {key: experiments.outcome_of(chosen.name, run) for key, run in conditions.items()}, 0


def _probe(quiet: bool) -> Layers:
    try:
        with Screen(quiet) as screen, native_messages_hidden():
            return layer_probe.work(
                lambda done, total: screen.bar("probing layers", done / total, f"{done}/{total} layers")
            )
    except Stopped:
        raise RunError("The probe was stopped; run it again.") from None


def _answer(chosen: Lesson, data: dict[str, Any], found: Any, lines: list[str]) -> Answer:
    option, measured = chosen.answer(found)
    answer = {"question": chosen.question, "answer": chosen.options[option], "measured": measured}
    head = [f"{chosen.number}. {chosen.title}", chosen.question, f"  {chosen.options[option]}. {measured}"]
    return Answer(data | answer, [*head, *lines])


def _condition_lines(chosen: Lesson, conditions: dict[str, Outcome]) -> list[str]:
    rows = [
        (
            CONDITIONS[chosen.name][key].label,
            percent(condition.figures["training_accuracy"]),
            percent(condition.figures["validation_accuracy"]),
            percent(condition.figures["test_accuracy"]),
            f"{condition.figures['multiply_adds'] / 1e6:.1f}",
            f"{condition.figures['model_bytes'] / 1e6:.2f}",
            f"{condition.internals.latency_ms:.2f}",
            f"{condition.figures['elapsed_seconds']:.0f}",
        )
        for key, condition in conditions.items()
    ]
    head = ("", "training", "validation", "test", "million multiply-adds", "MB", "ms an image", "seconds")
    return [*table(head, rows), *{condition.made.sentence: None for condition in conditions.values()}]


def _layer_lines(found: Layers) -> list[str]:
    first, other = found.networks
    rows = [
        (name, str(size), number(accuracy), number(chance))
        for name, size, accuracy, chance in zip(
            first.layers, first.features, first.accuracies, other.accuracies, strict=True
        )
    ]
    return [*table(("layer", "numbers", first.weights, other.weights), rows), found.made.sentence]
