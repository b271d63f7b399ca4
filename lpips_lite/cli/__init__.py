"""The command `compare-images`; the only place with click."""
