"""How the shipped weights are made and judged; run from a clone."""
