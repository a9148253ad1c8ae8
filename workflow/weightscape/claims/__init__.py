"""Claims: what a study's tables say of the paper's claims; they read tables, never shards.

`paper` has the claims, a file each, as statements about the `evidence` of a population; `effects`
measures how two columns go together, pooled and with width held fixed; `judge` gives verdicts, and
`scorecard` shows them on one page. `analyses` ask further questions, a file each, with `features`
and `learners` for what weights tell of accuracy.
"""
