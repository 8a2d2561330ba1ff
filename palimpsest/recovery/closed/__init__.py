"""What brings a compressed matrix nearer to the dense one without training: from both, and the inputs of the layer."""
