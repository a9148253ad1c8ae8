"""Measures of one layer of one run, a file each; `measures.runs.weights` reads each run once."""
