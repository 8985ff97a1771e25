"""Recipes to adapters: data, transformers.Trainer with PEFT, metrics and the gate."""
