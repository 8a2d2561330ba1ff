"""What is put on a compressed model to bring back what it lost, beside its weights and never inside them."""
