"""The hand-derived gradients, compiled; a file for each family that has them."""
