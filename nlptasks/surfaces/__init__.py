"""What all surfaces share: work in a thread, errors as sentences, types of fields, downloads, results as text."""

from nlptasks._lazy import lazy, stub

__getattr__, __dir__, __all__ = lazy(__name__, stub(__file__))
