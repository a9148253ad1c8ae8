"""Runs: the one table of a study's runs, their groups, and the paper's Tables 1 and 2."""
