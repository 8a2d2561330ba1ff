"""Whether what a study asks occurs in what its models were calibrated or recovered on."""
