"""Rows of files and datasets: tables, labelled texts, entities, questions, splits."""

from nlptasks._lazy import lazy, stub

__getattr__, __dir__, __all__ = lazy(__name__, stub(__file__))
