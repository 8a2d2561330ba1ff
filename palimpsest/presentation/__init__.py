"""Figures, tables, the report and the paper. They read a study's tables and nothing else."""
