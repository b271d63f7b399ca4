"""The commands `compare-images` and `lpips-votes`; the only package that imports click."""
