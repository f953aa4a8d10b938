# SPDX-License-Identifier: Apache-2.0
"""The download's attempts, with a real curl and our own origin on loopback, without a proxy."""

import select
import shutil
import threading
from contextlib import ExitStack, nullcontext
from http.server import ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from testbed import content
from testbed.workloads import download
from testbed.workloads.origin import FileHandler, first_byte

SIZE, SEED = 300_000, 4
ADDRESSES = {"wifi": "127.0.0.1", "3g": "127.0.0.2"}
DEADLINE_S = 20
# Of what has come, curl keeps the last bytes in a buffer; ended, it loses them.
SENT, WRITTEN = 100_000, 50_000


class StutteringHandler(FileHandler):
    """Serves the file, but of each of the first answers only a part, then waits or hangs up."""

    size_bytes, seed = SIZE, SEED
    parts: list[int] = []
    asked: list[tuple[str, int]] = []
    hangs_up = False
    go_on = threading.Event()

    def _send_from(self, first):
        self.asked.append((self.client_address[0], first_byte(self.headers.get("Range"))))
        if not self.parts:
            return super()._send_from(first)
        data = b"".join(content.blocks(SEED, SIZE, first))[: self.parts.pop(0)]
        self.wfile.write(data)
        self.wfile.flush()
        if not self.hangs_up:
            self.go_on.wait(DEADLINE_S)
        self.close_connection = True
        return None

    def log_message(self, *_):
        """Say nothing."""


class Direct(download.DownloadWorkload):
    """Asks the origin itself: there is no Squid on the way."""

    def _curl_argv(self, first):
        argv = super()._curl_argv(first)
        at = argv.index("--proxy")
        return argv[:at] + argv[at + 2 :]


class Ride:
    """A download and the server that it comes from."""

    def __init__(self, handler, port, tmp_path, plan):
        self.handler = handler
        raw = tmp_path / "raw"
        raw.mkdir()
        namespace = SimpleNamespace(inside=nullcontext, enter=lambda: None)
        nodes = {"laptop": SimpleNamespace(namespace=namespace)}
        self.workload = Direct(
            {
                "client": "laptop",
                "proxy": {"node": "proxy", "address": "127.0.0.1", "port": 1},
                "origin": {"node": "origin", "address": "127.0.0.1", "port": port},
                "transport": "tcp",
                "is_resumed": True,
                "path": "wifi",
                "size_bytes": SIZE,
                "seed": SEED,
                **plan,
            },
            SimpleNamespace(nodes=nodes),
            raw,
        )
        self.workload.address_of = ADDRESSES.__getitem__
        self.image = self.workload._image = tmp_path / "image"

    def start(self, stack):
        self.workload.start(stack)

    def use(self, path):
        self.workload.after_change({"change": "use_path", "path": path})

    def follow(self):
        """Do what the runner does: wait for the watched descriptors and ask."""
        select.select(self.workload.watched(), [], [], DEADLINE_S)
        return self.workload.is_done()

    def wait_for(self, size):
        deadline = threading.Event()
        for _ in range(DEADLINE_S * 50):
            if self.image.exists() and self.image.stat().st_size >= size:
                return
            deadline.wait(0.01)
        raise AssertionError(f"{size} bytes have not come")


@pytest.fixture
def ride(tmp_path, monkeypatch):
    if shutil.which("curl") is None:
        pytest.skip("this machine has no curl; install with 'apt-get install curl'")
    monkeypatch.setattr(download, "RETRY_S", 0)
    with ExitStack() as stack:

        def make(parts=(), hangs_up=False, **plan):
            names = {"parts": list(parts), "asked": [], "hangs_up": hangs_up,
                     "go_on": threading.Event()}  # fmt: skip
            handler = type("Handler", (StutteringHandler,), names)
            server = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), handler))
            server.block_on_close = False
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            stack.callback(handler.go_on.set)
            made = Ride(handler, server.server_address[1], tmp_path, plan)
            made.start(stack)
            return made

        yield make


def is_whole(result):
    return result["sha256"] == content.sha256(SEED, SIZE) and result["size_bytes"] == SIZE


def test_one_attempt_brings_the_file(ride):
    one = ride()
    assert one.follow() is True
    result = one.workload.result()
    assert is_whole(result)
    (attempt,) = result["attempts"]
    assert (attempt["path"], attempt["first_byte"], attempt["exit_status"]) == ("wifi", 0, 0)
    assert 0 <= attempt["started_s"] <= attempt["ended_s"]
    assert (result["exit_status"], result["curl"]["size_download"]) == (0, SIZE)
    assert one.workload.watched() == []


def test_another_path_brings_the_rest(ride):
    """The connection on the old path is ended, and what was written is not fetched again."""
    one = ride(parts=[SENT])
    one.wait_for(WRITTEN)
    one.use("3g")
    assert one.follow() is True
    result = one.workload.result()
    assert is_whole(result)
    first, second = result["attempts"]
    assert (first["path"], first["first_byte"], first["exit_status"]) == ("wifi", 0, None)
    assert (second["path"], second["exit_status"]) == ("3g", 0)
    assert WRITTEN <= second["first_byte"] <= SENT
    assert one.handler.asked == [("127.0.0.1", 0), ("127.0.0.2", second["first_byte"])]


def test_without_a_path_it_waits_for_one(ride):
    one = ride(parts=[SENT])
    one.wait_for(WRITTEN)
    one.use(None)
    assert one.workload.watched() == []
    assert one.workload.is_done() is False
    one.use("wifi")
    assert one.follow() is True
    result = one.workload.result()
    assert is_whole(result)
    assert [attempt["exit_status"] for attempt in result["attempts"]] == [None, 0]


def test_first_attempt_waits_for_a_path_too(ride):
    one = ride(path=None)
    assert (one.workload.watched(), one.handler.asked) == ([], [])
    one.use("3g")
    assert one.follow() is True
    assert is_whole(one.workload.result())
    assert one.handler.asked == [("127.0.0.2", 0)]


def test_failed_attempt_is_tried_again_on_the_same_path(ride):
    one = ride(parts=[50_000, 70_000], hangs_up=True)
    for _ in range(4):
        assert one.follow() is False  # a failure and a pause, twice
    assert one.follow() is True
    result = one.workload.result()
    assert is_whole(result)
    assert [attempt["first_byte"] for attempt in result["attempts"]] == [0, 50_000, 120_000]
    statuses = [attempt["exit_status"] for attempt in result["attempts"]]
    assert statuses[-1] == 0
    assert all(status > 0 for status in statuses[:-1])


def test_path_that_goes_during_the_pause(ride):
    one = ride(parts=[50_000], hangs_up=True)
    assert one.follow() is False
    one.use(None)
    assert one.workload.watched() == []
    one.use("3g")
    assert one.follow() is True
    assert is_whole(one.workload.result())
    assert len(one.workload.result()["attempts"]) == 2


def test_attempt_that_is_not_resumed_is_the_only_one(ride):
    one = ride(parts=[50_000], hangs_up=True, is_resumed=False)
    assert one.follow() is True
    result = one.workload.result()
    assert (result["size_bytes"], len(result["attempts"])) == (50_000, 1)
    assert result["exit_status"] not in (0, None)


def test_whole_file_is_not_fetched_again(ride):
    """The path may change in the moment in which curl ends."""
    one = ride()
    one.workload._current.wait(timeout_s=DEADLINE_S)
    one.use("3g")
    assert one.follow() is True
    result = one.workload.result()
    assert is_whole(result)
    assert [attempt["path"] for attempt in result["attempts"]] == ["wifi"]


def test_last_byte_is_fetched_again_when_curl_was_ended_behind_it(ride):
    """Asked for what is behind the file's end, a server says 416 and curl fails."""
    one = ride(path=None)
    one.image.write_bytes(b"".join(content.blocks(SEED, SIZE)))
    one.use("3g")
    assert one.follow() is True
    result = one.workload.result()
    assert is_whole(result)
    assert (result["exit_status"], result["attempts"][0]["first_byte"]) == (0, SIZE - 1)


def test_time_that_is_up_ends_the_attempt(ride):
    one = ride(parts=[SENT])
    one.wait_for(WRITTEN)
    result = one.workload.result()
    assert result["exit_status"] is None
    assert WRITTEN <= result["size_bytes"] <= SENT
    assert one.workload.watched() == []


def test_nothing_has_come(ride):
    result = ride(path=None).workload.result()
    assert result == {
        "exit_status": None,
        "size_bytes": 0,
        "sha256": None,
        "attempts": [],
        "curl": {},
        "squid_said": "",
    }


def test_other_changes_are_no_matter_of_the_client(ride):
    one = ride(parts=[SENT])
    one.wait_for(WRITTEN)
    before = one.workload.watched()
    one.workload.after_change({"change": "link_down", "link": "wifi"})
    assert one.workload.watched() == before != []


def test_mptcp_is_bound_to_no_path():
    plan = {
        "client": "laptop",
        "proxy": {"node": "proxy", "address": "10.0.5.2", "port": 3128},
        "origin": {"node": "origin", "address": "10.0.6.1", "port": 8080},
        "transport": "mptcp",
        "path": None,
    }
    workload = download.DownloadWorkload(plan, None, None)
    argv = workload._over_transport(workload._curl_argv(0))
    assert argv[:3] == ["mptcpize", "run", "curl"]
    assert "--interface" not in argv
    assert "--continue-at" not in argv
    assert argv[argv.index("--proxy") + 1] == "http://10.0.5.2:3128"
    assert argv[-1] == "http://10.0.6.1:8080/image"
