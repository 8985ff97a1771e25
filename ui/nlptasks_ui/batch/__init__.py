"""Batches: one task on every row of a table, with the results as a table."""
