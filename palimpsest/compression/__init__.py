"""Compression: methods on single matrices, and the walk that takes them through a model. No torch is imported here."""
