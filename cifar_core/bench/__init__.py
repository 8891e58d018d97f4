"""The benchmark: this app beside recipe.py, in one run on one machine.

measure.py   runs both and times them
browser.py   times the pages in Chromium
report.py    the measurements as a table
"""
