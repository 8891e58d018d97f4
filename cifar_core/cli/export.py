"""The commands `export`, `import` and `bundle`."""

from __future__ import annotations

import time
from argparse import Namespace
from pathlib import Path
from typing import Any

from cifar_core import runs
from cifar_core.cli.terminal import PROGRAM, Answer, Screen, complain, native_messages_hidden, percent
from cifar_core.errors import RunError
from cifar_core.export.exports import MODELS
from cifar_core.runs import Run

_POLL_SECONDS = 0.1


def export_run(arguments: Namespace) -> Answer:
    """Write a finished run to a file; a model file is tried on test images first."""
    from cifar_core.export import exports

    run, name = runs.get(arguments.id), arguments.format
    exports.check(run, name)
    facts = _tried(run, name, arguments.json) if name in MODELS else {}
    path = exports.save(run, name, Path(arguments.output) if arguments.output else None)
    size = path.stat().st_size
    found = {"id": run.id, "format": name, "file": str(path), "bytes": size}
    lines = [f"{path}: {size / 1e6:,.2f} MB."]
    if facts:
        found |= {key: facts[key] for key in ("agreement", "images", "latency_ms", "against", "poor")}
        lines.append(
            f"Agrees with the run on {percent(facts['agreement'])} of {facts['images']} test images; one image takes "
            f"{facts['latency_ms']:.2f} ms. Compared with {facts['against']}."
        )
    if facts.get("poor"):
        least = percent(MODELS[name].least_agreement)
        complain(f"Only {percent(facts['agreement'])} agree, expected {least} at least: do not rely on it.")
    return Answer(found, lines)


def import_run(arguments: Namespace) -> Answer:
    """Import a run from an archive."""
    from cifar_core.export import archive

    with native_messages_hidden():
        run = archive.import_run(archive.read_file(Path(arguments.archive)))
    data = {"id": run.id, "status": run.state, "imported": run.status["imported"]}
    return Answer(data, [f"Run {run.id} is imported; `{PROGRAM} runs show {run.id}` shows it."])


def bundle_run(arguments: Namespace) -> Answer:
    """Put a run's network and its model card into the package."""
    from cifar_core.export.bundle import bundle

    written = bundle(runs.get(arguments.id))
    lines = [f"{path}: {path.stat().st_size / 1e6:,.2f} MB." for path in written]
    return Answer({"id": arguments.id, "files": list(map(str, written))}, lines)


def _tried(run: Run, name: str, quiet: bool) -> dict[str, Any]:
    """Return the figures of the model file, which is made and tried now if it was not before. Raises RunError."""
    from cifar_core.export import exports

    if exports.state(run, name)["state"] in ("none", "failed"):
        exports.start(run, name)
    with Screen(quiet) as screen:
        while (found := exports.state(run, name))["state"] == "working":
            done, total = found["done"], found["total"]
            screen.bar(f"trying {name}", done / max(total, 1), f"{done}/{total} images")
            time.sleep(_POLL_SECONDS)
    if found["state"] != "done":
        log = exports.job(run, name).file(".log")
        raise RunError(f"The export failed: {found.get('error', 'it did not start')} More is in {log}.")
    return found
