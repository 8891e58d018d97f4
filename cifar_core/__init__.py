"""The core of CIFAR Studio: everything but the screen.

Nothing here imports Streamlit, and only `cifar_core.training` imports TensorFlow.
"""
