"""The command line, `python -m cifar_core`: parser.py defines the arguments, the other modules the commands."""

from cifar_core.cli.parser import main

__all__ = ["main"]
