# SPDX-License-Identifier: Apache-2.0
"""The origin web server, on loopback."""

import hashlib
import http.client
import shutil
import socket
import subprocess
import sys
import threading
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from testbed import content
from testbed.content import FILE_PATH
from testbed.process import Background
from testbed.workloads.listening import listens
from testbed.workloads.origin import FileHandler, first_byte

SIZE, SEED = 2**20 + 17, 5
WHOLE = b"".join(content.blocks(SEED, SIZE))


@pytest.fixture(scope="module")
def server():
    """Serve a file from a thread, on a port that the kernel chooses."""
    handler = type("Handler", (FileHandler,), {"size_bytes": SIZE, "seed": SEED})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def client(server):
    connection = http.client.HTTPConnection(*server.server_address, timeout=10)
    yield connection
    connection.close()


def test_serves_the_exact_bytes(client):
    client.request("GET", FILE_PATH)
    answer = client.getresponse()
    data = answer.read()
    assert (answer.status, answer.version) == (200, 11)
    assert int(answer.headers["Content-Length"]) == len(data) == SIZE
    assert hashlib.sha256(data).hexdigest() == content.sha256(SEED, SIZE)


def test_connection_is_kept(client):
    """A second request goes over the same connection and gets the same file."""
    digests = set()
    for _ in range(2):
        client.request("GET", FILE_PATH)
        digests.add(hashlib.sha256(client.getresponse().read()).hexdigest())
        own = client.sock.getsockname()
    assert client.sock.getsockname() == own
    assert len(digests) == 1


@pytest.mark.parametrize("path", ["/", "/image2", "/image/", "/../etc/passwd", "/image?x"])
def test_serves_nothing_else(client, path):
    client.request("GET", path)
    answer = client.getresponse()
    answer.read()
    assert answer.status == 404


@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_only_reading_is_allowed(client, method):
    client.request(method, FILE_PATH)
    assert client.getresponse().status == 501


@pytest.mark.parametrize(
    ("header", "first"),
    [
        (None, 0),
        ("", 0),
        ("bytes=0-", 0),
        ("bytes=17-", 17),
        ("bytes=-17", 0),
        ("bytes=17-20", 0),
        ("bytes=17-, 30-", 0),
        ("bytes= 17-", 0),
        ("lines=17-", 0),
        (f"bytes={'9' * 30}-", 0),
    ],
)
def test_only_an_open_range_is_known(header, first):
    assert first_byte(header) == first


@pytest.mark.parametrize("first", [0, 1, 2**20 - 1, 2**20, SIZE - 1])
def test_serves_the_rest(client, first):
    client.request("GET", FILE_PATH, headers={"Range": f"bytes={first}-"})
    answer = client.getresponse()
    data = answer.read()
    assert answer.status == 206
    assert answer.headers["Content-Range"] == f"bytes {first}-{SIZE - 1}/{SIZE}"
    assert data == WHOLE[first:]


@pytest.mark.parametrize("header", ["bytes=-17", "bytes=3-9", "bytes=0-1,5-9", "nonsense"])
def test_serves_all_instead_of_a_range_it_does_not_know(client, header):
    """RFC 9110 lets a server ignore the header, but not call something else the part."""
    client.request("GET", FILE_PATH, headers={"Range": header})
    answer = client.getresponse()
    assert (answer.status, answer.headers["Content-Range"]) == (200, None)
    assert answer.read() == WHOLE


@pytest.mark.parametrize("first", [SIZE, SIZE + 1, 10**17])
def test_has_nothing_behind_its_end(client, first):
    client.request("GET", FILE_PATH, headers={"Range": f"bytes={first}-"})
    answer = client.getresponse()
    assert (answer.status, answer.read()) == (416, b"")
    assert answer.headers["Content-Range"] == f"bytes */{SIZE}"


def curl(server, folder, *options):
    if shutil.which("curl") is None:
        pytest.skip("this machine has no curl; install with 'apt-get install curl'")
    address, port = server.server_address
    url = f"http://{address}:{port}{FILE_PATH}"
    argv = ["curl", "--silent", "--fail", "--output", folder / "image", *options, url]
    done = subprocess.run(argv, timeout=30)
    return done.returncode, (folder / "image").read_bytes()


def test_curl_resumes(server, tmp_path):
    """What is there stays, and the rest is put behind it."""
    (tmp_path / "image").write_bytes(WHOLE[:1000])
    assert curl(server, tmp_path, "--continue-at", "1000") == (0, WHOLE)


def test_curl_fails_behind_the_end(server, tmp_path):
    """Who has the whole file must not ask for the rest."""
    (tmp_path / "image").write_bytes(WHOLE)
    assert curl(server, tmp_path, "--continue-at", str(SIZE)) == (22, WHOLE)


def test_curl_gets_ranges(server, tmp_path):
    assert curl(server, tmp_path, "--range", "1000-") == (0, WHOLE[1000:])


def test_runs_on_its_own(tmp_path):
    """As the runner starts it: address, port, size and seed are arguments."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    argv = [sys.executable, "-m", "testbed.workloads.origin", "127.0.0.1", str(port), "1000", "3"]
    paths = {"stdout_path": tmp_path / "out", "stderr_path": tmp_path / "err"}
    with Background(argv, **paths) as origin:
        origin.wait_until(
            lambda: listens(Path("/proc/self/net/tcp").read_text(), port), timeout_s=20
        )
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", FILE_PATH)
        data = connection.getresponse().read()
        connection.close()
    assert data == b"".join(content.blocks(3, 1000))
    assert '"GET /image HTTP/1.1" 200 -' in paths["stderr_path"].read_text()
