"""Claims: what the tables of a study say of the paper's claims; they read tables, never shards.

`effects` measures how two columns of a population go together, over all runs and with width held
fixed.
"""
