#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Record the captured data of the analysis tests with the kernel of this machine.

Needs root, iproute2 and tcpdump. Creates three network namespaces of its own and removes
them; nothing else is touched.

    laptop wlan0 10.0.1.2 ---8 Mbit/s--- net --- proxy eth0 10.0.3.2 (and 10.0.3.3)
           cell0 10.0.2.2 ---2 Mbit/s---

Usage: record.py CASE OUTDIR with CASE one of download, fastclose, fallback, migrate.
OUTDIR becomes a run directory as the runner would write it.
"""

import contextlib
import hashlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

PREFIX = f"rec{os.getpid()}-"
LAPTOP, NET, PROXY = (PREFIX + name for name in ("laptop", "net", "proxy"))
IPPROTO_MPTCP = 262
CLONE_NEWNET = 0x40000000
PATHS = {"wifi": ("wlan0", "ap-laptop", "10.0.1"), "3g": ("cell0", "nodeb-laptop", "10.0.2")}
RATES = {"wifi": 8e6, "3g": 2e6}
SIZE = {"download": 900_000, "fastclose": 400_000, "fallback": 200_000, "migrate": 500_000}


def ip(*words: str, tool: str = "ip") -> None:
    """Run one ip command; a failure ends the recording."""
    subprocess.run([tool, *words], check=True, timeout=10, stdout=subprocess.DEVNULL)


@contextlib.contextmanager
def inside(namespace: str) -> Iterator[None]:
    """Move this thread to a network namespace for the time of the block."""
    libc = __import__("ctypes").CDLL(None, use_errno=True)
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    other = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        if libc.setns(other, CLONE_NEWNET):
            raise OSError("setns")
        yield
    finally:
        libc.setns(own, CLONE_NEWNET)
        os.close(own)
        os.close(other)


@contextlib.contextmanager
def network() -> Iterator[None]:
    """Create the three namespaces, and remove them at the end."""
    with contextlib.ExitStack() as stack:
        for name in (LAPTOP, NET, PROXY):
            ip("netns", "add", name)
            stack.callback(ip, "netns", "del", name)
            ip("-n", name, "link", "set", "lo", "up")
        for path, (near, far, prefix) in PATHS.items():
            cable(LAPTOP, near, f"{prefix}.2/24", NET, far, f"{prefix}.1/24")
            ip(
                "netns",
                "exec",
                NET,
                "tc",
                "qdisc",
                "add",
                "dev",
                far,
                "root",
                "tbf",
                "rate",
                f"{RATES[path]:.0f}bit",
                "burst",
                "3200",
                "limit",
                "60000",
            )
        cable(NET, "net-proxy", "10.0.3.1/24", PROXY, "eth0", "10.0.3.2/24")
        ip("-n", PROXY, "address", "add", "10.0.3.3/24", "dev", "eth0")
        ip("-n", PROXY, "route", "add", "default", "via", "10.0.3.1")
        configure()
        yield


def cable(here: str, near: str, near_ip: str, there: str, far: str, far_ip: str) -> None:
    """Connect two namespaces; segmentation offloads off, so that packets are packets."""
    ip("link", "add", near, "netns", here, "type", "veth", "peer", "name", far, "netns", there)
    for name, interface, address in ((here, near, near_ip), (there, far, far_ip)):
        ip("-n", name, "address", "add", address, "dev", interface)
        ip("-n", name, "link", "set", interface, "up")
        ip("-n", name, "link", "set", interface, "gso_max_segs", "1")


def configure() -> None:
    """Routes by source address, MPTCP limits and the second endpoint of the laptop."""
    sysctl(NET, "net.ipv4.ip_forward=1")
    for table, (near, _, prefix) in enumerate(PATHS.values(), 100):
        ip(
            "-n",
            LAPTOP,
            "route",
            "add",
            "default",
            "via",
            f"{prefix}.1",
            "dev",
            near,
            "table",
            str(table),
        )
        ip("-n", LAPTOP, "rule", "add", "from", f"{prefix}.2", "table", str(table))
    ip("-n", LAPTOP, "route", "add", "default", "via", "10.0.1.1")
    for name in (LAPTOP, PROXY):
        sysctl(name, "net.ipv4.tcp_congestion_control=reno", "net.mptcp.blackhole_timeout=0")
        ip("-n", name, "mptcp", "limits", "set", "subflow", "4", "add_addr_accepted", "4")
    ip("-n", LAPTOP, "mptcp", "endpoint", "add", "10.0.2.2", "dev", "cell0", "subflow")


def sysctl(name: str, *settings: str) -> None:
    """Set sysctls of one namespace."""
    ip("netns", "exec", name, "sysctl", "-qw", *settings)


@contextlib.contextmanager
def capture(raw: Path) -> Iterator[None]:
    """Run tcpdump on both interfaces of the laptop, from readiness to a clean end."""
    with contextlib.ExitStack() as stack:
        for path, (interface, _, _) in PATHS.items():
            log = raw / f"laptop.{path}.tcpdump.txt"
            child = subprocess.Popen(
                [
                    "ip",
                    "netns",
                    "exec",
                    LAPTOP,
                    "tcpdump",
                    "-i",
                    interface,
                    "-s",
                    "128",
                    "-U",
                    "--immediate-mode",
                    "--time-stamp-precision=nano",
                    "-w",
                    str(raw / f"laptop.{path}.pcap"),
                    "tcp",
                ],
                stderr=log.open("w"),
            )
            stack.callback(child.wait, timeout=5)
            stack.callback(child.send_signal, signal.SIGINT)
            deadline = time.monotonic() + 5
            while "listening on" not in log.read_text():
                if time.monotonic() > deadline:
                    raise TimeoutError(log.read_text())
                time.sleep(0.02)
        yield
        time.sleep(0.5)  # veth delivers at once; this is for tcpdump to wake


def sock_diag_dump(sock: socket.socket, protocol: int) -> bytes:
    """Ask the kernel for every socket of a protocol; the raw messages, NLMSG_DONE included."""
    request = struct.pack("<BBBBI", socket.AF_INET, min(protocol, 255), 0xFF, 0, 0xFFFF_FFFF)
    request += bytes(48)
    if protocol > 255:  # INET_DIAG_REQ_PROTOCOL, for protocols that do not fit 8 bits
        request += struct.pack("<HHI", 8, 3, protocol)
    sock.send(struct.pack("<IHHII", 16 + len(request), 20, 0x301, 1, 0) + request)
    answer = b""
    while True:
        part = sock.recv(1 << 18)
        answer += part
        if struct.unpack_from("<H", part, 4)[0] == 3:
            return answer


def sample(namespace: str, file: Path, stop: threading.Event) -> None:
    """Append a dump of the TCP and the MPTCP sockets of a namespace every 50 ms."""
    with inside(namespace), file.open("wb") as output:
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 4)  # NETLINK_SOCK_DIAG
        while not stop.wait(0.05):
            for protocol in (6, IPPROTO_MPTCP):
                answer = sock_diag_dump(sock, protocol)
                output.write(struct.pack("<QII", time.time_ns(), protocol, len(answer)) + answer)


def serve(size: int, protocol: int, ready: threading.Event, closing: str) -> None:
    """Answer one request with SIZE pseudorandom bytes."""
    with inside(PROXY):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol)
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("10.0.3.2", 3128))
        listener.listen()
        ready.set()
        connection, _ = listener.accept()
        with connection, contextlib.suppress(ConnectionError):
            connection.recv(4096)
            connection.sendall(body(size))


def body(size: int) -> bytes:
    """The bytes that are transferred: SHAKE-128 of nothing."""
    return hashlib.shake_128(b"").digest(size)


def fetch(case: str, size: int) -> dict[str, object]:
    """Download on the laptop; in the case fastclose leave with data unread."""
    with inside(LAPTOP):
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP)
    started, seen, digest = time.time(), 0, hashlib.sha256()
    with sock:
        sock.connect(("10.0.3.2", 3128))
        sock.sendall(b"GET /image HTTP/1.1\r\n\r\n")
        while data := sock.recv(65536):
            digest.update(data)
            seen += len(data)
            if case == "fastclose" and seen > size // 2:
                time.sleep(0.2)
                break
    return {
        "exit_status": int(seen != size),
        "sha256": digest.hexdigest(),
        "size_bytes": seen,
        "started_s": started,
        "ended_s": time.time(),
    }


def disturb(case: str) -> None:
    """The path manager's commands during the transfer, each with its option on the wire."""
    if case == "download":
        at(0.25, PROXY, "endpoint add 10.0.3.3 dev eth0 signal")
        at(0.20, LAPTOP, "endpoint change id 1 backup")
        at(0.15, LAPTOP, "endpoint change id 1 nobackup")
        at(0.10, PROXY, "endpoint delete id 1")
    elif case == "migrate":
        at(0.3, LAPTOP, "endpoint delete id 1")


def at(delay_s: float, namespace: str, words: str) -> None:
    """Wait, then run one `ip mptcp` command."""
    time.sleep(delay_s)
    ip("-n", namespace, "mptcp", *words.split())


def counters(file: Path) -> None:
    """Write the laptop's protocol counters as the kernel prints them."""
    with inside(LAPTOP):
        texts = [Path(f"/proc/thread-self/net/{name}").read_text() for name in ("netstat", "snmp")]
    file.write_text("".join(texts))


def link_counters(file: Path) -> None:
    """Write what the shapers delivered and dropped, in the form of the runner (IP bytes)."""
    links = {}
    for path, (_, far, _) in PATHS.items():
        text = subprocess.check_output(
            ["ip", "netns", "exec", NET, "tc", "-s", "-j", "qdisc", "show", "dev", far], timeout=10
        )
        qdisc = json.loads(text)[0]
        links[path] = {
            "a_to_b": {"delivered_bytes": 0},
            "b_to_a": {
                "delivered_bytes": qdisc["bytes"] - 14 * qdisc["packets"],
                "dropped_full": qdisc["drops"],
                "dropped_loss": 0,
                "dropped_down": 0,
                "opportunities": 0,
                "max_backlog": 60000,
            },
        }
    file.write_text(json.dumps(links, indent=1) + "\n")


def describe(case: str, out: Path, clock: tuple[float, float], result: dict[str, object]) -> None:
    """Write run.json and manifest.json."""
    size, (started, lasted) = SIZE[case], clock
    free = {
        "rate_bps": None,
        "one_way_delay_s": 0.0,
        "queue_bytes": None,
        "loss_fraction": 0.0,
        "trace": None,
    }
    shaped = {p: {**free, "rate_bps": RATES[p], "queue_bytes": 60000} for p in PATHS}
    links = [
        {
            "name": p,
            "a": "laptop",
            "b": "net",
            "a_interface": near,
            "b_interface": far,
            "a_to_b": free,
            "b_to_a": shaped[p],
        }
        for p, (near, far, _) in PATHS.items()
    ]
    run = {
        "experiment": f"recorded-{case}",
        "seed": 1,
        "duration_s": 20.0,
        "topology": {
            "nodes": ["laptop", "net", "proxy"],
            "links": links,
            "paths": [
                {"name": p, "node": "laptop", "interface": near, "address": f"{prefix}.2"}
                for p, (near, _, prefix) in PATHS.items()
            ],
        },
        "ride": {"stations": [[0.0, 20.0]]},
        "workload": {
            "name": "download",
            "client": "laptop",
            "size_bytes": size,
            "sha256": hashlib.sha256(body(size)).hexdigest(),
        },
        "mptcp": {"congestion_control": "reno"},
        "captures": [
            {"node": "laptop", "interface": near, "path": p, "file": f"laptop.{p}.pcap"}
            for p, (near, _, _) in PATHS.items()
        ],
    }
    for key in ("started_s", "ended_s"):
        result[key] = round(float(str(result[key])) - started, 6)
    version = subprocess.check_output(["tcpdump", "--version"], stderr=subprocess.STDOUT, text=True)
    release = os.uname().release.split("-")[0]
    manifest = {
        "status": "complete",
        "started_unix_s": started,
        "virtual_s": lasted,
        "wall_s": lasted,
        "backend": "host",
        "seed": 1,
        "kernel": {"release": release, "id": "host", "config_sha256": None},
        "tools": {"tcpdump": version.split("\n")[0]},
        "workload": result,
    }
    (out / "run.json").write_text(json.dumps(run, indent=1) + "\n")
    (out / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


def record(case: str, out: Path) -> None:
    """Carry out one case and write its run directory."""
    raw = out / "raw"
    raw.mkdir(parents=True)
    size, stop, ready = SIZE[case], threading.Event(), threading.Event()
    protocol = socket.IPPROTO_TCP if case == "fallback" else IPPROTO_MPTCP
    with network():
        started = time.time()
        jobs = [
            threading.Thread(target=sample, args=(ns, raw / f"{name}.ss.bin", stop))
            for ns, name in ((LAPTOP, "laptop"), (PROXY, "proxy"))
        ]
        jobs.append(threading.Thread(target=serve, args=(size, protocol, ready, case)))
        jobs.append(threading.Thread(target=disturb, args=(case,)))
        with capture(raw):
            counters(raw / "laptop.nstat.start.txt")
            link_counters(raw / "links.start.json")
            for job in jobs[:3]:
                job.start()
            ready.wait(5)
            jobs[3].start()
            result = fetch(case, size)
            for job in jobs[2:]:
                job.join(10)
            time.sleep(0.3)
            counters(raw / "laptop.nstat.end.txt")
            link_counters(raw / "links.end.json")
            lasted = time.time() - started
            stop.set()
            jobs[0].join(5)
            jobs[1].join(5)
    describe(case, out, (started, lasted), result)


if __name__ == "__main__":
    record(sys.argv[1], Path(sys.argv[2]))
