"""Measures: each turns shards and the table of runs into a table or an HDF5 file, by streaming.

`weights` reads a population once and hands each layer of each run to `statistics`, `density` and
`strength`, and each shard to `convergence`; `matching` and `projection` compare runs.
"""
