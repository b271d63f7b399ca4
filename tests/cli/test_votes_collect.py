"""`lpips-votes collect` and `export` as people use them: messages, errors, and addresses."""

import json
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from click.testing import CliRunner

from lpips_lite.cli.votes import main
from lpips_lite.votes.collect.questions import gather
from lpips_lite.votes.collect.store import Store
from lpips_lite.votes.collect.study import Settings
from tests.command import ENVIRONMENT
from tests.conftest import free_port
from tests.test_house import loaded_by
from tests.votes.collect.people import answer, open_store, write_folders

pytest.importorskip("starlette")


def run(*arguments):
    """Return exit status, stdout and stderr."""
    result = CliRunner().invoke(main, [*map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_folders(tmp_path)
    return tmp_path


def test_what_cannot_be_collected_is_refused_in_one_line(study):
    (study / "table.csv").write_text("ref,p0,p1\noriginal/0.png,weak/0.png,strong/9.png\n")
    (study / "no.db").write_text("words, " * 100)
    for arguments, message in (
        (["nothing", "weak"], "nothing: no such file or folder"),
        (["original"], "expected at least 2"),
        (["original", "table.csv"], "table.csv: is not a folder"),
        (["table.csv"], "strong/9.png"),
        (["table.csv", "weak"], "expected the table alone"),
        (["original", "weak", "strong", "--count", "5"], "count is 5; expected at most 4"),
        (["original", "weak", "strong", "--instructions", "no.md"], "no.md"),
        (["original", "weak", "strong", "--mode", "same", "--ties"], 'expected ties in mode "closer" only'),
        (["original", "weak", "strong", "--host", "no.such.host.invalid"], "cannot listen there"),
        (["original", "weak", "strong", "--store", "no.db"], "no.db: is not a store of votes"),
        (["original", "weak", "strong", "--store", "no/votes.db"], "no such folder"),
    ):
        store = [] if "--store" in arguments else ["--store", "votes.db"]
        status, out, error = run("collect", *arguments, *store)
        assert (status, out) == (2, ""), arguments
        assert message in error
        assert error.count("\n") == 1, error
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        status, _, error = run("collect", "original", "weak", "strong", "--store", "votes.db", "--port", port)
    assert (status, f"--host 127.0.0.1 --port {port}: cannot listen there" in error) == (2, True)


def test_addresses_a_second_server_and_the_end(study):
    command = [
        *(sys.executable, "-c", "import sys; from lpips_lite.cli.votes import main; main(sys.argv[1:])"),
        *(
            "collect",
            "original",
            "weak",
            "strong",
            "--store",
            "votes.db",
            "--host",
            "0.0.0.0",
            "--port",
            str(free_port()),
        ),
    ]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": ENVIRONMENT}
    with subprocess.Popen(command, **options) as first:
        try:
            lines = [first.stdout.readline() for _ in range(3)]
            assert lines[0] == "4 items, 0 answers so far\n"
            vote, watch = (line.split()[-1].replace(socket.gethostname(), "127.0.0.1") for line in lines[1:])
            assert len(vote.split("/")[3]) > 20  # others can reach it, so the address has a secret
            assert vote.split("/")[3] not in watch
            for address in (vote, watch):
                assert urllib.request.urlopen(address).status == 200
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(vote.replace(vote.split("/")[3], "guess"))
            second = run(*command[3:-1], "0")
            assert second == (2, "", "error: votes.db: another server is collecting votes in it\n")
        finally:
            first.send_signal(signal.SIGINT)
        assert first.wait(120) == 130


def test_export(study):
    with open_store(study, trials=8, repeats=0, catches=0, practice=0) as store:
        answer(store, store.join()[0])
    status, out, error = run("export", "votes.db", "-o", "votes.csv", "--raw", "answers.csv")
    assert (status, out) == (0, "")
    assert error == "1 person, 0 of whom break a rule of --screen\nwrote votes.csv\nwrote answers.csv\n"
    assert (study / "votes.csv").read_text().startswith("ref,p0,p1,votes_p0,votes_p1,method_p0,method_p1\n")
    assert len((study / "answers.csv").read_text().splitlines()) == 9
    for arguments, message in (
        (["no.db", "-o", "votes.csv"], "no.db: no such file"),
        (["votes.csv", "-o", "other.csv"], "votes.csv: is not a store of votes"),
        (["votes.db", "-o", "votes.db"], "would replace the store"),
        (["votes.db", "-o", "a.csv", "--raw", "a.csv"], "would replace"),
        (["votes.db", "-o", "no/a.csv"], "no such folder"),
        (["votes.db", "-o", "r0.png"], "would replace a judged image"),
    ):
        status, _, error = run("export", *arguments)
        assert (status, message in error) == (2, True), error


def test_same_or_different_is_collected_exported_and_agreed_with(study):
    settings = Settings(mode="same", trials=9, repeats=0, catches=2, practice=0)
    questions = gather([study / "original", study / "weak", study / "strong"], settings)
    with Store(study / "same.db", questions.items, settings, questions.digests) as store:

        def choose(trial):
            item = store.items[trial.number]
            return item.right or ("same" if item.method0 == "weak" else "different")

        for _ in range(3):
            answer(store, store.join()[0], choose)
    assert run("export", "same.db", "-o", "same.csv", "--raw", "answers.csv", "--screen")[0] == 0
    for table in ("same.csv", "answers.csv"):
        status, out, error = run("agree", table, "-m", "l2", "-f", "json")
        assert status == 0, error
        (found,) = json.loads(out)["results"]
        assert found["average_precision"] == 100  # weak noise is closer than strong noise, and so people voted


def test_the_commands_load_late():
    for command in ("collect", "export"):
        modules = loaded_by(
            f"from lpips_lite.cli.votes import main\ntry: main(['{command}', '--help'])\nexcept SystemExit: pass"
        )
        assert not modules & {"torch", "numpy", "starlette", "uvicorn", "jinja2", "sqlite3"}
