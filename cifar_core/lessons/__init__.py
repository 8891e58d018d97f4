"""Lessons that teach by real runs.

arms.py       what each lesson trains
catalogue.py  what each lesson asks, says and cites
outcome.py    what an arm gave, as JSON; results/ has those that ship
inside.py     what goes on inside a trained network: histogram, norms, last map, latency
layers.py     the lesson without a training: a linear probe after each block
here.py       the lessons' runs on this machine
charts.py     the figures
"""
