"""The images: CIFAR-10 and the built-in set, how they are split, and how they are augmented.

data.py        which images there are, the stratified split;  batches.py reads the files, download.py fetches them
generated.py   the built-in set: scenes and faults of the camera;  drawings.py: its figures;  canvas.py: the board
augment.py     rotation, shift, zoom, flip, brightness on 32×32 pixels
originals.py   the very images of a run, where they are on this machine
"""
