"""Engines that write quicker than torch on a CPU."""
