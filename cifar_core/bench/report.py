"""The benchmark's measurements as a table, which docs/benchmarks.md holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- begin: python -m cifar_core bench -->", "<!-- end -->"
Found = Mapping[str, Any]
Value = float | str | None


@dataclass(frozen=True)
class Row:
    """One figure: of the app, of recipe.py with the same settings, and of recipe.py in batches of 64.

    `unit` is "s", "images/s" or "" (an accuracy). A value of None was not measured.
    """

    name: str
    ours: Value
    recipe: Value = None
    tutorial: Value = None
    unit: str = "s"

    def cells(self) -> list[str]:
        """Return the row as text; behind recipe.py's figures how many times faster the app is: "12 s (6.5×)"."""
        ours = "not measured" if self.ours is None else _text(self.ours, self.unit)
        return [self.name, ours, *(_text(it, self.unit) + self._ratio(it) for it in (self.recipe, self.tutorial))]

    def _ratio(self, other: Value) -> str:
        if not isinstance(self.ours, float) or not isinstance(other, float):
            return ""
        return f" ({self.ours / other if self.unit == 'images/s' else other / self.ours:.2g}×)"


def _text(value: Value, unit: str) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    if unit == "s":
        return f"{value * 1000:.2g} ms" if value < 0.01 else f"{value:.2f} s" if value < 10 else f"{value:.0f} s"
    return f"{value:,.0f} images/s" if unit == "images/s" else f"{value:.1%}"


def rows(found: Found) -> list[Row]:
    """Return the figures of a benchmark."""
    twin, recipe, tutorial = found["twin_run"], found["recipe"], found["recipe_batch_64"]
    starts, pages, inference = found["starts"], found["browser"], found["inference"]
    predict = "`predict` in a new process; right: `import tensorflow`"
    lines = [
        Row("one epoch of phase 1, features cached", *_last_epochs("head", twin, recipe, tutorial)),
        Row("one epoch of phase 2, top 4 blocks", *_last_epochs("fine_tune", twin, recipe)),
        Row("time to 85% validation accuracy", *(run["goal_seconds"] or "not reached" for run in (twin, recipe))),
        Row("frozen backbone", inference["images_per_second"], recipe["images_per_second"], unit="images/s"),
        Row("one picture classified, warm", inference["single_seconds"], recipe["single_seconds"]),
        Row(predict, starts["predict_seconds"], starts["tensorflow_seconds"]),
        Row("first page drawn", pages.get("first_page_seconds")),
        Row("the same, new server and new browser", pages.get("cold_page_seconds")),
        Row("one interaction on *Train*", pages.get("interaction_seconds")),
        Row("from a metric written to its point on screen", pages.get("metric_seconds")),
    ]
    for name in ("quick", "standard"):
        if run := found.get(f"{name}_run"):
            lines += [
                Row(f"`{name}`: first point of the curve", run["first_point_seconds"]),
                Row(f"`{name}`: the whole run", run["seconds"]),
                Row(f"`{name}`: the same, estimated before", run["estimated_seconds"]),
                Row(f"`{name}`: test accuracy", run["test_accuracy"], unit=""),
            ]
    return lines


def table(found: Found) -> list[str]:
    """Return the figures as lines of a Markdown table."""
    cells = [["figure", "CIFAR Studio", "recipe.py, same settings", "recipe.py, batches of 64"], ["---"] * 4]
    return [f"| {' | '.join(line)} |" for line in [*cells, *(row.cells() for row in rows(found))]]


def section(found: Found) -> str:
    """Return conditions and table, Markdown between two marks."""
    machine = found["machine"]
    packages = ", ".join(f"{name} {number}" for name, number in machine["packages"].items())
    about = (
        f"{found['data']}, {'5,000' if found['quick'] else '50,000'} images, α 0.5 at 96 px, seed 1, on "
        f"{machine['cores']} cores of {machine['processor']} ({machine['memory_gib']} GiB, load "
        f"{machine['load_before']} before); Python {machine['python']}, {packages}; {machine['date']}. "
        f"recipe.py had at most {found['limit_seconds'] / 60:g} min."
    )
    return "\n".join([BEGIN, about, "", *table(found), END])


def write_section(file: Path, found: Found) -> None:
    """Replace the section in `file`, which has both marks."""
    before, rest = file.read_text(encoding="utf-8").split(BEGIN, 1)
    file.write_text(before + section(found) + rest.split(END, 1)[1], encoding="utf-8")


def _last_epochs(phase: str, *runs: Found) -> list[Any]:
    """Return the seconds of each run's last epoch of `phase`, when all is compiled and the features are cached."""
    return [next(reversed(run["epoch_seconds"][phase]), None) for run in runs]
