"""The command `doctor`."""

from __future__ import annotations

from argparse import Namespace

from cifar_core.cli.terminal import Answer, table


def doctor(arguments: Namespace) -> Answer:
    """Check this machine; exit code 2 if something must be corrected."""
    from cifar_core import doctor as core  # 30 ms that most commands need not wait

    checks = core.checks()
    lines = table(("check", "state", "value"), [(check.name, check.state, check.value) for check in checks])
    lines += [f"{check.name}: {check.advice}" for check in checks if check.advice]
    failed = any(check.state == "error" for check in checks)
    return Answer({"ok": not failed, "checks": [check._asdict() for check in checks]}, lines, 2 if failed else 0)
