"""Bases and adapters as files: the catalog, where their bytes come from, their hashes, archives."""
