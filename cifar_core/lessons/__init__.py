"""Lessons that teach by real runs."""
