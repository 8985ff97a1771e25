"""transformers' Trainer with PEFT: models, LoRA targets, checkpoints, events."""
