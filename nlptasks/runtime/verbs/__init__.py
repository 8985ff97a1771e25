"""The verbs of a resident model: texts to batches, batches to logits, spans and texts."""
