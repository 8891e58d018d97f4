"""The command line, `python -m cifar_core`: words.py has what is understood, commands.py what it does."""

from cifar_core.cli.parser import main

__all__ = ["main"]
