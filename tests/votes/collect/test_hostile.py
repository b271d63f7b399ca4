"""Hostile visitors and disks, tested with the real command over the network and the operating system."""

import os
import shutil
import socket
import sqlite3
from contextlib import closing

import pytest

from lpips_lite.votes.collect.export import read_store
from lpips_lite.votes.collect.pages import page_version
from tests.votes.collect.people import SCREEN, open_store
from tests.votes.collect.served import served

httpx = pytest.importorskip("httpx")
pytest.importorskip("uvicorn")
MARK = b"nobody may read this"


def ballot(state, choice="left"):
    trial = state["trials"][0]["key"]
    return {"trial": trial, "choice": choice, "milliseconds": 700, "screen": SCREEN, "page": page_version()}


def join(client):
    return client.post("api/join", json={"consent": True}).json()


def is_whole(path):
    with closing(sqlite3.connect(path)) as base:
        return base.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def raw(port, *parts):
    """Send raw bytes; return the answer up to its end."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
        found = b""
        try:
            for part in parts:
                line.sendall(part)
        except ConnectionError:
            pass  # refused before everything was sent, as intended
        try:
            while part := line.recv(65536):
                found += part
        except ConnectionError:
            pass
    return found


def status(answer):
    return int(answer.split(b" ", 2)[1])


def test_bytes_that_no_browser_sends(tmp_path):
    """Paths outside the list, and bodies of 10 MB, declared or not: the server continues and the store is intact."""
    with served(tmp_path, references=3, size=(16, 16)) as running, httpx.Client(base_url=running.vote) as client:
        (tmp_path / "secret.txt").write_bytes(MARK)
        state = join(client)
        key, cookie = state["trials"][0]["key"], "; ".join(f"{k}={v}" for k, v in client.cookies.items())
        header = f"Host: 127.0.0.1\r\nCookie: {cookie}\r\nConnection: close\r\n"
        outside = f"{tmp_path}/secret.txt"
        for path in (
            *("/../secret.txt", "/../../../../../../etc/passwd", "/..\\secret.txt", "/%2e%2e/secret.txt"),
            *("/..%2fsecret.txt", "/..%5csecret.txt", "/%252e%252e%252fsecret.txt", "/..%c0%afsecret.txt"),
            *(f"/image/{key}/../../secret.txt", f"/image/{key}/..%2f..%2fsecret.txt", f"/image/{key}/ref%00.png"),
            *(outside, f"/{outside}", f"/image/{key}/{outside}", f"file://{outside}", "/votes.db", "/../votes.db"),
            *(f"/image/../original/0.png?{key}", "/original/0.png", "/page.css/../../app.py", "/page.css%00"),
        ):
            answer = raw(running.port, f"GET {path} HTTP/1.1\r\n{header}\r\n".encode())
            assert status(answer) in (400, 404), path
            assert MARK not in answer, path
            assert str(tmp_path).encode() not in answer.partition(b"\r\n\r\n")[2], path
        assert status(raw(running.port, f"GET /{'a' * 200_000} HTTP/1.1\r\n{header}\r\n".encode())) in (400, 404, 431)
        post = f"POST /api/vote HTTP/1.1\r\n{header}Content-Type: application/json\r\n"
        body, megabytes = b"x" * 10**6, 10
        declared = raw(running.port, f"{post}Content-Length: {megabytes * 10**6}\r\n\r\n".encode(), *[body] * megabytes)
        chunk = b"%x\r\n%s\r\n" % (len(body), body)
        streamed = raw(running.port, f"{post}Transfer-Encoding: chunked\r\n\r\n".encode(), *[chunk] * megabytes)
        for answer in (declared, streamed):
            assert not answer or status(answer) == 413  # none where the connection was cut before it could be read
        answer = client.post("api/vote", json=ballot(state))
        assert (answer.status_code, answer.json()["done"]) == (200, 1)
    assert len(read_store(running.store).votes) == 1
    assert is_whole(running.store)


@pytest.mark.slow
def test_a_disk_that_fills_and_has_room_again(tmp_path):
    """If files can no longer grow, votes are refused with a message, and no confirmed vote is lost."""
    resource = pytest.importorskip("resource")
    if not hasattr(resource, "prlimit"):
        pytest.skip("limits of another process can be set on Linux only")
    told = []
    with served(tmp_path, references=12, size=(16, 16)) as running, httpx.Client(base_url=running.vote) as client:
        state = join(client)
        pid, (_, most) = running.process.pid, resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE)
        largest = max(path.stat().st_size for path in tmp_path.glob("votes.db*"))
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (largest + 64 * 1024, most))
        while (answer := client.post("api/vote", json=ballot(state))).status_code == 200:
            told.append((state["rater"], state["done"]))
            state = answer.json()
        assert answer.status_code == 503
        assert "who runs it has been told" in answer.text
        assert str(tmp_path) not in answer.text
        assert told
        assert client.get("api/state").json()["done"] == len(told)  # what is there is still read
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, most))
        state = client.post("api/vote", json=ballot(state)).json()  # again, as the page does
        assert state["done"] == len(told) + 1
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, most))
        assert client.post("api/vote", json=ballot(state)).status_code == 503
        running.kill()
        running.start()
        votes = read_store(running.store).votes
        assert [(vote.rater, vote.position) for vote in votes] == [*told, (state["rater"], len(told))]
    assert is_whole(running.store)


@pytest.mark.slow
def test_a_store_and_a_folder_that_may_only_be_read(tmp_path):
    before = ()
    if os.geteuid() == 0:  # whom permissions do not stop
        if not shutil.which("setpriv"):
            pytest.skip("runs as root, and there is no setpriv")
        before = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")
    with served(tmp_path, references=3, size=(16, 16)) as running, httpx.Client(base_url=running.vote) as client:
        client.post("api/vote", json=ballot(join(client)))
    content = running.store.read_bytes()
    try:
        running.store.chmod(0o444)
        code, error = running.refused(before)
        assert (code, error) == (2, f"error: {running.store}: attempt to write a readonly database\n")
        running.store.chmod(0o644)
        for path in tmp_path.glob("votes.db?*"):
            path.unlink()
        tmp_path.chmod(0o555)
        code, error = running.refused(before)
        assert code == 2
        assert error.startswith(f"error: {running.store}: ")
        assert error.count("\n") == 1
        assert len(read_store(running.store).votes) == 1  # it can be read, though
    finally:
        tmp_path.chmod(0o755)
    assert running.store.read_bytes() == content


def test_a_second_server_by_another_name(tmp_path):
    """A store is the same file under any name."""
    (tmp_path / "link").mkdir()
    with open_store(tmp_path) as store:
        store.join()
        (tmp_path / "link" / "other.db").symlink_to(tmp_path / "votes.db")
        with pytest.raises(OSError, match=r"other\.db: another server is collecting"):
            open_store(tmp_path, name="link/other.db")
        assert len(store.raters()) == 1
