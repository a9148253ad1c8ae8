"""Measures of a population's runs, a file each: they compare runs, or weights with others."""
