"""Tasks over HTTP, in the shapes that clients already speak. Needs `pip install 'nlptasks[serve]'`."""

from nlptasks._lazy import lazy

__getattr__, __dir__, __all__ = lazy(__name__, __file__)
