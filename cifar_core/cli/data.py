"""The commands `data ...`: the images, and the feature cache."""

from __future__ import annotations

import time
from argparse import Namespace
from typing import Any

from cifar_core.cli.terminal import Answer, Screen, complain, table
from cifar_core.data import cifar10, feature_cache
from cifar_core.untrusted import shown_name


def status(arguments: Namespace) -> Answer:
    """Show which images a training uses, and why."""
    found = cifar10.status()
    if found["error"]:
        complain(found["error"])
        return Answer(found, [], 2)
    lines = [
        f"{found['label']}: {found['train_images']:,} training and {found['test_images']:,} test images.",
        f"Where: {found['source']}",
        f"Why: {found['reason']}.",
    ]
    download = found["download"]
    if download["running"] or download["bytes"]:
        state = "running" if download["running"] else "unfinished"
        lines.append(f"Download ({state}): {download['bytes'] / 1e6:,.0f} of {download['total'] / 1e6:,.0f} MB.")
    return Answer(found, lines)


def download(arguments: Namespace) -> Answer:
    """Download the official CIFAR-10 into the cache."""
    with Screen(arguments.json) as screen:

        def progress(done: int, total: int | None) -> None:
            total = total or cifar10.ARCHIVE_BYTES
            screen.bar("CIFAR-10", done / total, f"{done / 1e6:,.0f} of {total / 1e6:,.0f} MB")

        found = cifar10.download(progress)
    answer = {
        "dataset": found.name,
        "label": found.label,
        "source": found.source,
        "train_images": len(found.train_labels),
        "test_images": len(found.test_labels),
        "fingerprint": found.fingerprint,
        "official": found.official,
    }
    return Answer(answer, [f"{found.label} is in {found.source}."])


def show_cache(arguments: Namespace) -> Answer:
    """Show the contents of the feature cache, or empty it."""
    budget, freed = feature_cache.budget_bytes(), feature_cache.clear() if arguments.clear else 0
    folder, entries = str(feature_cache.store_dir()), feature_cache.contents()
    total = sum(entry["bytes"] for entry in entries)
    lines = [f"Freed {freed / 1e6:,.0f} MB."] if arguments.clear else []
    lines.append(f"{folder}: {total / 1e6:,.0f} MB of at most {budget / 1e9:g} GB.")
    if entries:
        rows = [_row(entry) for entry in sorted(entries, key=lambda entry: -entry["last_used"])]
        lines += table(("MB", "last used", "layer", "α", "size", "view"), rows)
    data = {"folder": folder, "budget_bytes": budget, "bytes": total, "freed_bytes": freed, "entries": entries}
    return Answer(data, lines)


def _row(entry: dict[str, Any]) -> list[str]:
    used = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry["last_used"]))
    about = (shown_name(str(entry["about"].get(key, "-"))) for key in ("layer", "alpha", "image_size", "view"))
    return [f"{entry['bytes'] / 1e6:,.0f}", used, *about]
