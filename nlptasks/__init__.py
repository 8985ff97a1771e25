"""NLP tasks on one resident Transformer: typed results, LoRA adapters, plugins.

Public names are imported when they are first used; `import nlptasks` brings in no torch.
"""

from nlptasks._lazy import lazy

__version__ = "0.2.0"

__getattr__, __dir__, __all__ = lazy(__name__, __file__)
__all__ += ["__version__"]
