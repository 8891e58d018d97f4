"""Runs the command line (see cli/): `python -m cifar_core` in the app's folder, or `python FOLDER/cifar_core`."""

import io
import os
import sys
from pathlib import Path

if not __package__:  # started by its path: Python then searches modules in this folder, not in its parent
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from cifar_core.cli.parser import main


def run() -> int:
    """Run the command in sys.argv and return the exit code; also the script `cifar-studio` of the installed package."""
    closed = Path(os.devnull)  # replaces a closed stream (None), as after ">&-" or without a terminal
    sys.stdout, sys.stderr = (stream or closed.open("w") for stream in (sys.stdout, sys.stderr))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a console without "α" shows "?"
            stream.reconfigure(errors="replace")
    return main()


if __name__ == "__main__":
    sys.exit(run())
