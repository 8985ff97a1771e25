"""Batches: a table in, one task over its rows, a table with the results out."""
