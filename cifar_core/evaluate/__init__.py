"""How good a finished run is, where it fails, and what probably went wrong.

evaluation.py   a run's stored predictions;  mistakes.py: classes, confusion, sure mistakes, lucky hits
robustness.py   accuracy under eight faults of an image
story.py        what each phase gave, and what fine-tuning changed
diagnosis.py    what probably went wrong, by the rules of rules.py;  case.py: what they look at
assessment.py   all of that for one run;  tables.py as CSV, report.py as HTML, evaluation_charts.py as figures
"""
