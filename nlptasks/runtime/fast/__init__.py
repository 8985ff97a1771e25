"""Engines that write quicker than torch on a CPU; each serves what it can, and torch the rest."""
