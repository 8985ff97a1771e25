"""What all surfaces share: work in a thread, errors as sentences, field types, downloads, results as text."""

from nlptasks._lazy import lazy

__getattr__, __dir__, __all__ = lazy(__name__, __file__)
