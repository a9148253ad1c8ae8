"""Files that others wrote, read as data: checkpoints, arrays, and zoos that list runs."""
