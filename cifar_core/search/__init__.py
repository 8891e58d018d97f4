"""Hyperparameter search: sweeps of many runs, and the head lab."""
