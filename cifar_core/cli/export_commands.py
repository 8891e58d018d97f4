"""The commands `export`, `import` and `bundle`: a run leaves this machine, comes to it, or ships with the app."""

from __future__ import annotations

import time
from argparse import Namespace
from pathlib import Path
from typing import Any

from cifar_core import runs
from cifar_core.cli.commands import reply
from cifar_core.cli.terminal import PROGRAM, Screen, complain, native_messages_hidden, percent
from cifar_core.errors import RunError
from cifar_core.export.formats import MODELS
from cifar_core.runs import Run

_POLL_SECONDS = 0.1


def export_run(arguments: Namespace) -> int:
    """Write a finished run to a file; a model file is tried on test images first."""
    from cifar_core.export import downloads

    run = runs.get(arguments.id)
    downloads.check(run, arguments.format)
    facts = _tried(run, arguments.format, Screen(quiet=arguments.json)) if arguments.format in MODELS else {}
    path = downloads.save(run, arguments.format, Path(arguments.output) if arguments.output else None)
    found = {"id": run.id, "format": arguments.format, "file": str(path), "bytes": path.stat().st_size}
    lines = [f"{path}: {path.stat().st_size / 1e6:,.2f} MB."]
    if facts:
        found |= {key: facts[key] for key in ("agreement", "images", "latency_ms", "against", "poor")}
        lines.append(
            f"On {facts['images']} test images it says what the run says in {percent(facts['agreement'])}; "
            f"one image takes {facts['latency_ms']:.2f} ms. Compared with {facts['against']}."
        )
    reply(arguments, found, lines)
    if facts.get("poor"):
        least = MODELS[arguments.format].least_agreement
        complain(f"Only {percent(facts['agreement'])} agree, expected {percent(least)} at least: do not rely on it.")
    return 0


def import_run(arguments: Namespace) -> int:
    """Make a run of an archive."""
    from cifar_core.export import archive

    with native_messages_hidden():
        run = archive.import_run(archive.read_file(Path(arguments.archive)))
    imported = run.status["imported"]
    lines = [f"Run {run.id} is here; `{PROGRAM} runs show {run.id}` tells about it."]
    reply(arguments, {"id": run.id, "status": run.state, "imported": imported}, lines)
    return 0


def bundle_run(arguments: Namespace) -> int:
    """Put a run's network into the package, with its model card."""
    from cifar_core.export.bundle import bundle

    written = bundle(runs.get(arguments.id))
    lines = [f"{path}: {path.stat().st_size / 1e6:,.2f} MB." for path in written]
    reply(arguments, {"id": arguments.id, "files": list(map(str, written))}, lines)
    return 0


def _tried(run: Run, name: str, screen: Screen) -> dict[str, Any]:
    """Return how the model file does, which is made and tried now unless it was before."""
    from cifar_core.export import exports

    found = exports.state(run, name)
    if found["state"] in ("none", "failed"):
        exports.start(run, name)
        found = exports.state(run, name)
    try:
        while found["state"] == "working":
            done, total = found["done"], found["total"]
            screen.bar(f"trying {name}", done / max(total, 1), f"{done}/{total} images")
            time.sleep(_POLL_SECONDS)
            found = exports.state(run, name)
    finally:
        screen.clear()
    if found["state"] != "done":
        log = exports.job(run, name).file(".log")
        raise RunError(f"The export failed: {found.get('error', 'it did not start')} More is in {log}.")
    return found
