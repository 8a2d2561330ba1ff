"""The allocations, a function each (registry.py). Nothing is imported here: declarations are read from the sources."""
