"""What a perceptual distance is compared with: one file a family, functions `(x, y) -> (N,)` and loss Modules."""
