"""From answers to metrics with intervals, and from metrics to verdicts."""
