"""Classifying pictures with a finished run, and explaining the answer. No TensorFlow."""
