"""A person's picture, what a finished run says of it, and why.

pictures.py      a picture -> what the network sees;  zips.py, album.py: many of them;  gallery.py: filter, order, CSV
classifier.py    a finished run as something that classifies;  latency.py: in how many milliseconds
explain.py       which parts of a picture speak for a class;  whatif.py changes the picture
neighbours.py    the nearest training images in feature space
calibration.py   temperature, reliability, "none of the ten";  unlike.py draws what that is measured on
pins.py          pictures that are watched while a network learns
explain_charts.py  the figures
"""
