"""Figures: each reads a measure's table and the table of runs, never weights."""
