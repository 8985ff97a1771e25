"""Recipes to adapters: data, transformers.Trainer with PEFT, metrics and the gate.

from nlptasks.training import finetune

report = finetune("sentiment", "reviews.csv", name="mine")
"""

from nlptasks._lazy import lazy

__getattr__, __dir__, __all__ = lazy(__name__, __file__)
