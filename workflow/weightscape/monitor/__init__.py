"""Monitor: what a study will cost, how far it is, and what keeps it from harm."""
