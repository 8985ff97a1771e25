"""Bases and adapters as files: the catalog, where their bytes come from, their hashes, archives."""

from nlptasks._lazy import lazy

__getattr__, __dir__, __all__ = lazy(__name__, __file__)
