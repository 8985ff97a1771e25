"""The chat: one conversation with the language model and all tasks."""
