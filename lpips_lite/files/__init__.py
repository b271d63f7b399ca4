"""Image files in, rows of results out."""
