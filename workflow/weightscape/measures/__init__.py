"""Measures: each turns shards and the table of runs into tables or an HDF5 file, by streaming.

`layers` describe one layer of one run, a file each, and `runs` compare the runs of a population, a
file each. `runs.weights` reads every run once for all of `layers`, for `density` and for
`convergence`. A `job` has the files that one measure reads and writes.
"""
