"""`python -m lpips_lite` is `compare-images`."""

from lpips_lite.cli.main import main

main()
