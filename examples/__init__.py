"""Example images and scripts; run from a clone."""
