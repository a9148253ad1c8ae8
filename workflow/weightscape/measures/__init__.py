"""Measures: each turns shards and the table of runs into a table or an HDF5 file, by streaming.

`weights` reads a population once and hands each layer of each run to `statistics`, `density`,
`strength` and `spectra`, and each shard to `convergence`; `nulls` measures the same of initial,
shuffled and drawn weights; `matching`, `projection` and `function` compare runs.
"""
