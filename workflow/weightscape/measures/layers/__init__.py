"""Measures of one layer of one run, a file each; `measures.one_pass` reads each run once."""
