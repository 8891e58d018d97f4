"""The command `doctor`."""

from __future__ import annotations

from argparse import Namespace

from cifar_core.cli.terminal import Answer, table


def doctor(arguments: Namespace) -> Answer:
    """Check this machine; exit code 2 if there is a problem."""
    from cifar_core import doctor as core  # takes 30 ms to import

    checks = core.checks()
    lines = table(("check", "state", "value"), [(check.name, check.state, check.value) for check in checks])
    lines += [f"{check.name}: {check.advice}" for check in checks if check.advice]
    failed = any(check.state == "error" for check in checks)
    return Answer({"ok": not failed, "checks": [check._asdict() for check in checks]}, lines, 2 if failed else 0)
