"""Measurements against peers and people; run from a clone."""
