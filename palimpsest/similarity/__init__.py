"""Similarity: how near the attention and the activations of a recovered model come to those of other models."""
