"""Claims: what the tables of a study say of the paper's claims; they read tables, never shards.

`effects` measures how two columns of a population go together, over all runs and with width held
fixed; `statements` are the paper's claims as such effects, `judge` gives each a verdict, and
`scorecard` shows them on one page. `nulls` asks which effects null models keep, `variation` where
variance comes from, `failures` why runs fail; `prediction` and `transfer` (with `features` and
`learners`) what weights tell of accuracy.
"""
