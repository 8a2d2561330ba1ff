"""Encoders learn to answer: a classification head, and the encoder below it, trained on the rows of a task."""
