"""Storage: the files of a study, and their only readers and writers.

`shards` keep weights, `tables` rows, `images` the datasets; `hdf5` seals what is HDF5, `files`
replaces a file whole, and `unfinished` keeps the runs of a job that was killed.
"""
