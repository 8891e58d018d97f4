"""The benchmark: this app beside recipe.py, in one run on one machine."""
