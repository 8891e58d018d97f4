"""The benchmark's measurements as figures with their targets: a table, a section of the README, a drawing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from math import log10
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- begin: python -m cifar_core bench -->", "<!-- end -->"
Found = Mapping[str, Any]
_BAR, _ROW = 420, 34


@dataclass(frozen=True)
class Figure:
    """One line of the table. `value` is what the target is about, None where it was not measured or not reached.

    `unit` is "×" (how many times faster than plain), "s", "%" (of 1), "a minute" or "" (an accuracy).
    """

    name: str
    ours: str
    plain: str
    value: float | None
    target: float | None
    unit: str
    more_is_better: bool = True

    @property
    def is_reached(self) -> bool | None:
        """Whether the target is reached; None without a target."""
        if self.target is None:
            return None
        if self.value is None:
            return False
        return self.value >= self.target if self.more_is_better else self.value <= self.target

    @property
    def result(self) -> str:
        """The value in words."""
        return "not measured" if self.value is None else said(self.value, self.unit)

    @property
    def aim(self) -> str:
        """The target in words."""
        if self.target is None:
            return "reported"
        return f"{'at least' if self.more_is_better else 'under'} {said(self.target, self.unit)}"


def said(value: float, unit: str) -> str:
    """Return `value` in words: "34×", "0.32 s", "12 %", "0.9087"."""
    if unit == "×":
        return f"{value:.1f}×" if value < 10 else f"{value:.0f}×"
    if unit == "s":
        return f"{value * 1000:.2g} ms" if value < 0.01 else f"{value:.2f} s" if value < 10 else f"{value:.0f} s"
    if unit == "a minute":
        return f"{value:.1f} a minute"
    return f"{value:.0%}".replace("%", " %") if unit == "%" else f"{value:.4f}"


def figures(found: Found) -> list[Figure]:
    """Return the figures of a benchmark."""
    twin, plain, inference = found["twin_run"], found["plain"], found["inference"]
    quick, standard, starts, pages = found["quick_run"], found.get("standard_run"), found["starts"], found["browser"]
    best = found.get("best")
    share = inference["operations_per_second"] / inference["peak_operations_per_second"]
    lines = [
        _ratio("one epoch of the head, store built", twin["epoch_seconds"]["head"], plain["epoch_seconds"]["head"], 30),
        _ratio(
            "one epoch of fine-tuning, top 4 blocks",
            twin["epoch_seconds"]["fine_tune"],
            plain["epoch_seconds"]["fine_tune"],
            7,
        ),
    ]
    if standard:
        lines += [
            _time_to("0.85", standard, plain, target=10),
            _time_to("0.9", standard, plain, target=None),
        ]
    rate, plain_rate = inference["trunk_images_per_second"], plain["trunk_images_per_second"]
    one, plain_one = inference["single_seconds"], plain["single_seconds"]
    lines += [
        Figure("trunk", f"{rate:,.0f} images/s", f"{plain_rate:,.0f} images/s", rate / plain_rate, 2.5, "×"),
        Figure("trunk, share of the arithmetic peak", said(share, "%"), "", share, None, "%"),
        Figure("one picture classified, warm", said(one, "s"), said(plain_one, "s"), plain_one / one, 20, "×"),
        _seconds(
            "`predict` in a new process",
            starts["predict_seconds"],
            1.0,
            f"{said(starts['tensorflow_seconds'], 's')} (`import tensorflow`)",
        ),
        _seconds("first page drawn", pages.get("first_page_seconds"), 1.5),
        _seconds("the same, new server and new browser", pages.get("cold_page_seconds"), None),
        _seconds("one interaction on *Train*", pages.get("interaction_seconds"), 0.3),
        _seconds("from a metric written to its point on screen", pages.get("metric_seconds"), 1.5),
        _seconds("`quick`: first point of the curve", quick["first_point_seconds"], 10),
        _seconds("`quick`: the whole run", quick["seconds"], 30),
    ]
    if standard:
        lines += [
            _seconds("`standard`: the whole run", standard["seconds"], 150),
            Figure(
                "`standard`: test accuracy",
                said(standard["test_accuracy"], ""),
                "",
                standard["test_accuracy"],
                0.90,
                "",
            ),
        ]
    if best:
        lines.append(_accuracy("`best`, from its own recorded run: test accuracy", best["test_accuracy"], 0.94))
    cut = found.get("best_cut_run")
    for name, run in (("`quick`", quick), ("`standard`", standard), ("`best`, 10,000 images and one epoch", cut)):
        if run:
            gap = abs(run["estimated_seconds"] / run["seconds"] - 1)
            words = f"{run['estimated_seconds']:.0f} s estimated, {run['seconds']:.0f} s taken"
            lines.append(Figure(f"{name}: error of the estimate", words, "", gap, 0.30, "%", more_is_better=False))
    return lines + [_trials(found["trials"], kind, target) for kind, target in _TRIALS if found.get("trials")]


def table(found: Found) -> list[str]:
    """Return the figures as lines of a Markdown table."""
    lines = [
        "| figure | CIFAR Studio | plain recipe | result | to reach |",
        "| --- | --- | --- | --- | --- |",
    ]
    for item in figures(found):
        mark = {True: "yes", False: "**no**", None: ""}[item.is_reached]
        lines.append(f"| {item.name} | {item.ours} | {item.plain} | {item.result} | {item.aim} {mark} |")
    return lines


def section(found: Found) -> str:
    """Return the README's section, Markdown between its two marks."""
    machine = found["machine"]
    packages = ", ".join(f"{name} {number}" for name, number in machine["packages"].items())
    images = "5,000 images" if found["quick"] else "all images"
    about = (
        f"{found['data']}, {images}, α 0.5 at 96 px, seed 1, on {machine['cores']} cores of {machine['processor']} "
        f"({machine['memory_gib']} GiB, no GPU, load {machine['load_before']} before); Python {machine['python']}, "
        f"{packages}; {machine['date']}. Plain runs were stopped after {found['plain']['limit_seconds'] // 60} minutes."
    )
    return "\n".join([BEGIN, about, "", *table(found), END])


def write_section(readme: Path, found: Found) -> None:
    """Replace the section in the file `readme`, which has both marks."""
    text = readme.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN, 1)
    readme.write_text(before + section(found) + rest.split(END, 1)[1], encoding="utf-8")


def drawing(found: Found) -> str:
    """Return the figures against the plain recipe as bars on a logarithmic scale, SVG."""
    shown = [item for item in figures(found) if item.unit == "×" and item.value]
    height = 70 + _ROW * len(shown)
    widest = log10(max([1.5, *(item.value for item in shown if item.value), *(item.target or 1 for item in shown)]))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 860 {height}" font-family="sans-serif" font-size="14">',
        f'<rect width="860" height="{height}" fill="#fcfcfa"/>',
        '<text x="16" y="30" font-size="18" fill="#1d2733">How many times faster than the plain recipe</text>',
    ]
    for number, item in enumerate(shown):
        top, length = 54 + _ROW * number, _BAR * log10(max(item.value or 1, 1.01)) / widest
        parts.append(f'<text x="330" y="{top + 16}" text-anchor="end" fill="#1d2733">{escape(item.name)}</text>')
        parts.append(f'<rect x="342" y="{top}" width="{length:.1f}" height="22" rx="3" fill="#2b7bba"/>')
        parts.append(f'<text x="{350 + length:.1f}" y="{top + 16}" fill="#1d2733">{item.result}</text>')
        if item.target:
            mark = 342 + _BAR * log10(item.target) / widest
            parts.append(f'<path d="M{mark:.1f} {top - 3}v28" stroke="#e8871e" stroke-width="2"/>')
    parts.append(
        f'<text x="342" y="{height - 8}" font-size="12" fill="#5b6673">orange: to reach; logarithmic scale</text>'
    )
    return "\n".join([*parts, "</svg>"]) + "\n"


def _ratio(name: str, ours: list[float], plain: list[float], target: float) -> Figure:
    """Compare the last epochs: the store is built, everything is compiled."""
    if not plain:
        return Figure(name, said(ours[-1], "s"), "not reached", None, target, "×")
    return Figure(name, said(ours[-1], "s"), said(plain[-1], "s"), plain[-1] / ours[-1], target, "×")


def _time_to(goal: str, ours: Found, plain: Found, target: float | None) -> Figure:
    name = f"time to {float(goal):.2f} validation accuracy"
    own, other, limit = ours["reached"][goal], plain["reached"][goal], plain["limit_seconds"]
    words = "not reached" if own is None else said(own, "s")
    others = f"not reached in {limit} s" if other is None else said(other, "s")
    if target is None:
        return Figure(name, words, others, own, 100, "s", more_is_better=False)
    return Figure(name, words, others, (other or limit) / own if own else None, target, "×")


def _accuracy(name: str, value: float, target: float) -> Figure:
    return Figure(name, said(value, ""), "", value, target, "")


def _seconds(name: str, value: float | None, target: float | None, plain: str = "") -> Figure:
    return Figure(name, "" if value is None else said(value, "s"), plain, value, target, "s", more_is_better=False)


_TRIALS: tuple[tuple[str, float], ...] = (("head", 20), ("two_phase", 4))


def _trials(trials: Found, kind: str, target: float) -> Figure:
    name = {"head": "head-only trials a minute", "two_phase": "two-phase trials a minute"}[kind]
    own, other = trials[kind]["ours"], trials[kind]["plain"]
    return Figure(name, f"{own:.1f}", f"{other:.1f}", own, target, "a minute")
