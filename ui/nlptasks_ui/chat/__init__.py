"""The chat: one conversation over all tasks."""
