"""Many runs: listed, compared, swept; and the head lab.

listing.py      all runs as one table;  labels.py: name, note, star;  trash.py: deleted runs
comparison.py   McNemar's test between runs;  overlay.py: their curves over each other
plans.py        what a sweep tries and how far it goes;  search.py: its storage;  launch_sweep.py: its workers
findings.py     what a sweep found;  sweep_charts.py draws it
lab.py          what is asked of the head lab and what it answered;  lab_map.py, lab_charts.py
"""
