"""`python -m lpips_lite` is `compare-images`."""

from lpips_lite.cli import main

main()
