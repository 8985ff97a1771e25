"""The only place that imports torch, transformers and peft at inference time."""
