"""Metrics to compare LPIPS with: one file per family, with functions `(x, y) -> (N,)` and loss Modules."""
