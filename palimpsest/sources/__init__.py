"""Where dense checkpoints come from."""
