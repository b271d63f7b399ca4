"""`lpips-votes collect` in a separate process, which may be killed and started again."""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager

from tests.command import ENVIRONMENT
from tests.conftest import ROOT, free_port
from tests.votes.collect.people import write_folders

COMMAND = "import sys; from lpips_lite.cli.votes import main; main(sys.argv[1:])"


class Served:
    """The command, running on its own images; `before` is put before it, like `setpriv`."""

    def __init__(self, folder, *options, references=12, size=(96, 96)):
        original, results = write_folders(folder, references, size)
        self.store, self.port = folder / "votes.db", free_port()
        self.command = [
            *(sys.executable, "-c", COMMAND, "collect", str(original), *map(str, results)),
            *("--store", str(self.store), "--port", str(self.port), *map(str, options)),
        ]
        self.start()

    def open(self, before=()):
        return subprocess.Popen(
            [*before, *self.command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
            cwd=ROOT,
        )

    def start(self):
        self.process = self.open()
        lines = [self.process.stdout.readline() for _ in range(3)]
        assert lines[2].startswith("you watch at"), self.process.stderr.read()
        self.vote, self.watch = (line.split()[-1] for line in lines[1:])

    def refused(self, before=()):
        """Start another process, which must end by itself; return its exit status and output."""
        process = self.open(before)
        _, error = process.communicate(timeout=300)
        return process.returncode, error

    def kill(self):
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.communicate()

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        try:
            _, error = self.process.communicate(timeout=60)
            return self.process.returncode, error
        finally:
            self.process.kill()
            self.process.communicate()


@contextmanager
def served(folder, *options, **images):
    running = Served(folder, *options, **images)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.stop()
