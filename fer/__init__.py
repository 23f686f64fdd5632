"""Facial-expression recognition research: merged data sets, honest splits, one-command studies."""

from fer.emotions import EMOTIONS

__all__ = ["EMOTIONS", "__version__"]

__version__ = "0.1.0"
