"""The core of CIFAR Studio: everything except the user interface.

Never imports Streamlit; only `cifar_core.training` imports TensorFlow.
"""

import os

from cifar_core import machine

# Read when NumPy is first imported. By default, OpenBLAS threads spin for 0.1 s after each matrix product, on cores
# that a training needs.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
os.environ.setdefault("OPENBLAS_NUM_THREADS", str(machine.threads()))  # OpenBLAS ignores cgroups
