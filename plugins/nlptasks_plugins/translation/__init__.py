"""Translation: the task, its results, languages and segments."""
