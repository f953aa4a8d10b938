# SPDX-License-Identifier: Apache-2.0
"""The origin web server, on loopback."""

import hashlib
import http.client
import socket
import sys
import threading
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from testbed import content
from testbed.process import Background
from testbed.workloads.download import listens
from testbed.workloads.origin import FILE_PATH, FileHandler

SIZE, SEED = 2**20 + 17, 5


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
