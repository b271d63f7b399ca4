"""`compare-images`, installed or as `python -m lpips_lite`: an interrupt ends it quietly from the start."""

import os
import signal
import sys


def main() -> None:
    """Run `compare-images` and leave with its exit status."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is ignored, as in the background
        signal.signal(signal.SIGINT, lambda *_: _leave())
    from lpips_lite.cli.main import main as command

    try:
        command()
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # nothing is left to interrupt


def _leave() -> None:
    """Leave at once: nothing is open yet, and imports do not like to be interrupted."""
    if sys.stderr is not None:
        os.write(2, b"interrupted\n")
    os._exit(130)


if __name__ == "__main__":
    main()
