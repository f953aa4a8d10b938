#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measure how fast a capture is read, side by side with tshark on the same file.

The file is a recorded MPTCP download, repeated with later times and other ports, so that its mix of
data packets, acknowledgements and handshakes is that of real captures.

Usage: python -m benchmarks.pcap_parse [--packets N] [--capture FILE] [--no-tshark]
"""

import argparse
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.parse.pcap import iter_packets, read_packets
from analysis.parse.places import Bytes, Int64
from analysis.parse.records import iter_starts

RECORDED = "tests/data/mptcp/6.18-tcpdump-4.99-download/raw/laptop.wifi.pcap"
SERVER_PORT = 3128
PORTS_AT = 16 + 14 + 20  # record, Ethernet and IPv4 headers
# What the parser fills in, in tshark's names.
TSHARK_FIELDS = (
    "frame.time_epoch",
    "frame.len",
    "ip.len",
    "ip.src",
    "ip.dst",
    "tcp.srcport",
    "tcp.dstport",
    "tcp.seq_raw",
    "tcp.ack_raw",
    "tcp.flags",
    "tcp.window_size_value",
    "tcp.len",
    "tcp.options.mptcp.subtype",
    "tcp.options.mptcp.rawdataack",
    "tcp.options.mptcp.rawdataseqno",
    "tcp.options.mptcp.subflowseqno",
    "tcp.options.mptcp.datalvllen",
)


def generate(recorded: Path, target: Path, packets: int) -> int:
    """Write a capture of at least `packets` packets; return how many."""
    starts, length_s = survey(recorded)
    rounds = -(-packets // starts)
    repeat(recorded, target, rounds, length_s)
    return rounds * starts


def survey(recorded: Path) -> tuple[int, int]:
    """Return how many packets a capture has and how many seconds it lasts, rounded up."""
    data = np.frombuffer(recorded.read_bytes(), dtype=np.uint8)
    starts = np.concatenate(list(iter_starts(data, "<")))
    return starts.size, int(np.ptp(_fields(data, starts, "<u4"))) + 1


def repeat(recorded: Path, target: Path, rounds: int, length_s: int) -> None:
    """Write a capture `rounds` times, each `length_s` later and with other ports of the client."""
    data = np.frombuffer(recorded.read_bytes(), dtype=np.uint8)
    starts = np.concatenate(list(iter_starts(data, "<")))
    seconds, ports = _fields(data, starts, "<u4"), _fields(data, starts + PORTS_AT, ">u2")
    with target.open("wb") as output:
        output.write(data[:24].tobytes())
        for number in range(rounds):
            copy = data[24:].copy()
            later = (seconds + number * length_s).astype("<u4")
            moved = 1024 + (ports.astype(np.int64) + number) % 60000
            other = np.where(ports == SERVER_PORT, ports, moved).astype(ports.dtype)
            for place, values in ((starts - 24, later), (starts - 24 + PORTS_AT, other)):
                raw = np.ascontiguousarray(values.astype(values.dtype)).view(np.uint8)
                copy[place[:, None] + np.arange(4)] = raw.reshape(-1, 4)
            output.write(copy.tobytes())


def _fields(data: Bytes, places: Int64, kind: str) -> npt.NDArray[np.unsignedinteger[Any]]:
    """Return the four bytes at each place as one number, or as two."""
    fields: npt.NDArray[np.unsignedinteger[Any]]
    fields = data[places[:, None] + np.arange(4)].copy().view(kind)
    return fields.ravel() if fields.shape[1] == 1 else fields


def anonymous_mb() -> float:
    """Return this process's memory without the mapped file, MB."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) / 1e3


def time_parser(file: Path) -> tuple[int, float, float]:
    """Return packets, CPU seconds and greatest memory (MB) of reading the file chunk by chunk."""
    data = np.memmap(file, dtype=np.uint8, mode="r")
    begin, packets, memory = time.process_time(), 0, 0.0
    for number, chunk in enumerate(iter_packets(data)):
        packets += chunk.packets.size
        if number % 8 == 0:
            memory = max(memory, anonymous_mb())
    return packets, time.process_time() - begin, memory


def time_tshark(file: Path) -> tuple[int, float]:
    """Return packets and CPU seconds of tshark printing the same fields."""
    fields = [word for field in TSHARK_FIELDS for word in ("-e", field)]
    argv = ["tshark", "-n", "-r", str(file), "-T", "fields", *fields]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(argv, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          timeout=3600)  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return done.stdout.count(b"\n"), seconds


def main(arguments: Sequence[str] = ()) -> None:
    """Print both rates, per CPU second because machines are shared, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--packets", type=int, default=300_000)
    parser.add_argument("--capture", type=Path, default=Path(__file__).parent.parent / RECORDED)
    parser.add_argument("--no-tshark", action="store_true")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "generated.pcap"
        generate(options.capture, file, options.packets)
        read_packets(options.capture.read_bytes())  # imports and caches
        count, seconds, memory = min((time_parser(file) for _ in range(3)), key=lambda run: run[1])
        rate = count / seconds
        print(f"file      {count} packets, {file.stat().st_size / 1e6:.0f} MB")
        print(f"testbed   {seconds:8.2f} CPU s  {rate / 1e6:8.3f} M packets/s (best of 3)")
        print(f"          {memory:8.0f} MB of memory at most, without the mapped file")
        if options.no_tshark or shutil.which("tshark") is None:
            return
        count, seconds = time_tshark(file)
        print(f"tshark    {seconds:8.2f} CPU s  {count / seconds / 1e6:8.3f} M packets/s")
        print(f"ratio     {rate * seconds / count:8.1f}")


if __name__ == "__main__":
    main(sys.argv[1:])
