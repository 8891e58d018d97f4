"""Every Plotly figure, in one style."""

from cifar_core.charts.training import (
    CORRECT,
    PHASE_COLOURS,
    TEMPLATE,
    TRAINING,
    VALIDATION,
    WRONG,
    metric_figure,
    metric_words,
    probability_figure,
    small_figure,
    style,
)

__all__ = [
    "CORRECT",
    "PHASE_COLOURS",
    "TEMPLATE",
    "TRAINING",
    "VALIDATION",
    "WRONG",
    "metric_figure",
    "metric_words",
    "probability_figure",
    "small_figure",
    "style",
]
