"""Rows of files and datasets: tables, labelled texts, entities, questions, splits."""
