"""What a perceptual distance is compared with: one file a family, each a function `(x, y) -> (N,)` and a loss Module."""
