"""Protocols that other servers' clients speak, as routes of `nlptasks serve`."""
