"""Probing: hidden states at chosen tokens, and what a linear classifier can read from them."""
