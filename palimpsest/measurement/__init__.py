"""Measurement: bytes, memory and time of every variant. The only table that differs between two runs."""
