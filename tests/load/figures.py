"""What the visit was like: figures, their targets, a table."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from tests.load.training_run import Pace

MOST_P95_SECONDS = 1.0
MOST_SLOWDOWN = 0.2
_WARM_UP = 1 / 3  # of the time: imports, caches


def percentile(values: Sequence[float], share: float) -> float:
    """Return the percentile of `values`, NaN of none."""
    return float(np.percentile(values, share)) if values else float("nan")


def by_action(taken: Sequence[tuple[str, str, float]]) -> list[dict[str, Any]]:
    """Return how long each action took, slowest first: page, action, times, median and 95th percentile in seconds."""
    groups: dict[tuple[str, str], list[float]] = defaultdict(list)
    for page, action, seconds in taken:
        groups[page, action.rstrip("0123456789")].append(seconds)
    rows = [
        {"page": page, "action": action, "times": len(values), "median": percentile(values, 50),
         "p95": percentile(values, 95)}
        for (page, action), values in groups.items()
    ]  # fmt: skip
    return sorted(rows, key=lambda row: -row["p95"])


def slope(memory: Sequence[tuple[float, int]]) -> dict[str, float]:
    """Return a server's memory after the first third in MB: at first, at last, most, and its growth a minute."""
    clock = np.array([seconds for seconds, _ in memory])
    held = np.array([size for _, size in memory]) / 1e6
    late = clock >= clock[0] + (clock[-1] - clock[0]) * _WARM_UP
    growth = float(np.polyfit(clock[late] / 60, held[late], 1)[0]) if late.sum() > 2 else float("nan")
    return {
        "start_mb": float(held[0]),
        "warm_mb": float(held[late][0]),
        "end_mb": float(held[-1]),
        "most_mb": float(held.max()),
        "mb_a_minute": growth,
    }


def summary(
    taken: Sequence[tuple[str, str, float]], polls: Sequence[float], problems: Sequence[str], **more: Any
) -> dict[str, Any]:
    """Return all figures as one JSON-able dictionary."""
    seconds = [value for _, _, value in taken]
    return {
        **more,
        "interactions": len(taken),
        "p50_seconds": percentile(seconds, 50),
        "p95_seconds": percentile(seconds, 95),
        "most_seconds": max(seconds, default=float("nan")),
        "polls": len(polls),
        "poll_p50_seconds": percentile(polls, 50) if polls else None,
        "poll_p95_seconds": percentile(polls, 95) if polls else None,
        "errors": len(problems),
        "error_kinds": dict(Counter(problems).most_common(20)),
        "actions": by_action(taken),
    }


def slowdown(before: Pace, during: Pace, after: Pace) -> float:
    """Return by how much of its pace the training was slowed, against the mean of before and after."""
    alone = (before.images_per_second + after.images_per_second) / 2
    return 1 - during.images_per_second / alone


def table(found: dict[str, Any]) -> str:
    """Return the figures as a table in Markdown."""
    memory, cpu = found["memory"], found["cores"]
    rows = [
        ("errors", f"{found['errors']}", "0", found["errors"] == 0),
        (
            f"interaction, 95th percentile of {found['interactions']:,}",
            f"{found['p95_seconds']:.2f} s (median {found['p50_seconds']:.2f} s, most {found['most_seconds']:.2f} s)",
            f"under {MOST_P95_SECONDS:.2f} s",
            found["p95_seconds"] < MOST_P95_SECONDS,
        ),
        (
            "memory of the server",
            f"{memory['warm_mb']:.0f} MB after a third of the time, {memory['end_mb']:.0f} MB at the end; "
            f"slope {memory['mb_a_minute']:+.1f} MB a minute",
            "flat",
            None,
        ),
        (
            "sent to a visitor each minute",
            f"{found['messages_a_minute']:,.0f} messages, {found['kilobytes_a_minute']:,.0f} kB",
            "",
            None,
        ),
        ("processor: server, visitors", f"{cpu['server']:.2f} cores, {cpu['visitors']:.2f} cores", "", None),
    ]
    if found["polls"]:
        poll = f"{found['poll_p95_seconds']:.2f} s (median {found['poll_p50_seconds']:.2f} s)"
        rows.append((f"poll of the live run, 95th percentile of {found['polls']:,}", poll, "", None))
    if "slowdown" in found:
        paces = ", ".join(
            f"{name} {found['training'][name]['images_per_second']:.0f}" for name in ("before", "during", "after")
        )
        rows.append(
            (
                "training slowed by",
                f"{found['slowdown']:.0%} (images a second: {paces})",
                f"under {MOST_SLOWDOWN:.0%}",
                found["slowdown"] < MOST_SLOWDOWN,
            )
        )
    lines = ["| figure | measured | to reach |", "| --- | --- | --- |"]
    for name, value, target, reached in rows:
        verdict = "" if reached is None else " yes" if reached else " **no**"
        lines.append(f"| {name} | {value} | {target}{verdict} |")
    lines += ["", "| page | action | times | median | 95th percentile |", "| --- | --- | --- | --- | --- |"]
    for row in found["actions"]:
        lines.append(
            f"| {row['page']} | {row['action']} | {row['times']} | {row['median']:.2f} s | {row['p95']:.2f} s |"
        )
    lines += ["", *(f"{number} × {text}" for text, number in found["error_kinds"].items())]
    return "\n".join(lines).rstrip()
