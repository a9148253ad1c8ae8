"""The formats of checkpoints: each file beside this one reads one, as data alone."""
