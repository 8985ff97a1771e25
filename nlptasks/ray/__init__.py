"""Ray: a task on every row of a Ray dataset, and the actors of `nlptasks batch --ray`."""

from nlptasks._lazy import lazy

__getattr__, __dir__, __all__ = lazy(__name__, __file__)
