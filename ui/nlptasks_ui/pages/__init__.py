"""Pages that every installation has: the start page and one a task."""
