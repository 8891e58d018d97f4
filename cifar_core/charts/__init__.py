"""Every Plotly figure, in one style."""

from cifar_core.charts.training import metric_figure, metric_words, probability_figure, small_figure

__all__ = ["metric_figure", "metric_words", "probability_figure", "small_figure"]
