"""Bases and adapters as files: the catalog, where their bytes come from, their hashes, archives."""

from nlptasks._lazy import lazy, stub

__getattr__, __dir__, __all__ = lazy(__name__, stub(__file__))
