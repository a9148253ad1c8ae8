"""Analyses, a file each: further questions to a population's tables, beside the paper's claims."""
