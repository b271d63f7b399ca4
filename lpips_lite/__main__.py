"""`compare-images`, installed or as `python -m lpips_lite`. An interrupt ends it quietly at any time."""

import os
import signal
import sys


def main() -> None:
    """Run `compare-images` and exit with its status."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # otherwise it is ignored, as in the background
        signal.signal(signal.SIGINT, lambda *_: _leave())
    from lpips_lite.cli.main import main as command

    try:
        command()
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # nothing is left to interrupt


def _leave() -> None:
    """Exit at once: nothing is open yet, and an interrupted import prints a traceback."""
    if sys.stderr is not None:
        os.write(2, b"interrupted\n")
    os._exit(130)


if __name__ == "__main__":
    main()
