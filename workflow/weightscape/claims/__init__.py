"""Claims: what a study's tables say of the paper's claims; they read tables, never shards.

`paper` has the claims, a file each, as statements about the `evidence` of a population;
`comparisons` are how two columns are compared in any runs, and `effects` what that gives pooled and
with width held fixed; `statements` makes them all, in every way to analyse a study; `judge` gives
verdicts, `families` and `answers` roll them up, and `scorecard` shows them on one page. `analyses`
ask further questions, a file each, with `features` and `learners` for what weights tell of
accuracy.
"""
