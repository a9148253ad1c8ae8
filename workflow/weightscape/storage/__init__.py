"""Storage: the files of a study, and their only readers and writers.

`shards` keep weights, `tables` rows, `images` the datasets, `densities` curves; `hdf5` seals what
is HDF5, `joining` makes one file of several, and `unfinished` keeps the runs of a job that was
killed.
"""
