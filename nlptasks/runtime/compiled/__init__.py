"""Encoders compiled by OpenVINO, with products in 8 bits."""
