"""From image files to rows of results."""
