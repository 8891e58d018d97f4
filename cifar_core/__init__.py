"""The core of CIFAR Studio: everything but the screen.

Nothing here imports Streamlit, and only `cifar_core.training` imports TensorFlow.
"""

import os

from cifar_core import machine

# Read when NumPy is first imported. Without it the threads of its OpenBLAS spin for 0.1 s after every product, on
# processors that a training needs.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
os.environ.setdefault("OPENBLAS_NUM_THREADS", str(machine.threads()))  # it knows no cgroup
