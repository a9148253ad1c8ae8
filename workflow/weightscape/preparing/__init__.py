"""What comes from elsewhere becomes a study's: images datasets, and networks shards."""
