"""The start page and the task pages, which every installation has."""
