"""Foreign networks: checkpoints that were trained elsewhere, and how they become shards."""
