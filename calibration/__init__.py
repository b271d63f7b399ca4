"""Code that makes and judges the shipped weights; run it from a clone."""
