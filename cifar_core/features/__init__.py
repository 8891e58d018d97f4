"""The feature cache: outputs of the frozen backbone, one row for each image, on disk."""
