"""Representation change: what compression does to the states that a model computes, layer by layer."""
