# SPDX-License-Identifier: Apache-2.0
"""Write run directories of an invented ride, packet by packet, for the tests of analysis.

One MPTCP download over two paths: 3G follows a trace of delivery opportunities and is always
there, WiFi has a constant rate and is there in stations only. What was in flight on WiFi when a
station ends is lost and comes again over 3G. Everything follows from the arguments and a seed.
"""

import hashlib
import json
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from analysis.parse.mptcp import initial_dsn_of, token_of

START_S = 1_700_000_000  # guest clock at t = 0
PAYLOAD, IP_BYTES, HEADER_BYTES = 1420, 1500, 94
LAPTOP = {"wifi": "10.0.1.2", "3g": "10.0.2.2"}
PORTS = {"wifi": 40001, "3g": 40002}
PROXY, PROXY_PORT = "10.0.9.2", 3128
CLIENT_KEY, SERVER_KEY = 0x1122334455667788, 0x99AABBCCDDEEFF01
IDSN = initial_dsn_of(SERVER_KEY) + 1
ISN = {"wifi": 2**32 - 50_000, "3g": 7_000_000}  # wifi's sequence numbers wrap
SYN, ACK, PSH = 0x02, 0x10, 0x08
ENDS = (LAPTOP["wifi"], PORTS["wifi"], PROXY, PROXY_PORT)
TIMESTAMPS = bytes([1, 1, 8, 10]) + bytes(8)


@dataclass
class Ride:
    """What to invent."""

    end_s: float = 12.0
    stations: tuple[tuple[float, float], ...] = ((2.0, 5.0), (8.0, 10.5))
    wifi_bps: float = 8e6
    wifi_delay_s: float = 0.010
    cell_delay_s: float = 0.075
    cell_bps: tuple[float, float] = (0.8e6, 2.2e6)  # least and greatest rate of the trace
    association_s: float = 0.6
    lost_packets: int = 20  # in flight when a station ends
    recovery_s: float = 0.4
    seed: int = 1
    run: dict[str, Any] = field(default_factory=dict)  # merged into run.json


def tcp_packet(
    t_ns: int, ends: tuple[str, int, str, int], seq: int, ack: int, flags: int, options: bytes,
    payload_bytes: int = 0,
) -> bytes:  # fmt: skip
    """Return one pcap record (nanoseconds, little endian), cut after the TCP header."""
    src, sport, dst, dport = ends
    options += b"\1" * (-len(options) % 4)
    tcp_bytes = 20 + len(options)
    tcp = struct.pack(">HHIIHHHH", sport, dport, seq % 2**32, ack % 2**32,
                      tcp_bytes // 4 << 12 | flags, 500, 0, 0) + options  # fmt: skip
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + tcp_bytes + payload_bytes, 0, 0x4000, 64, 6, 0,
                     _packed(src), _packed(dst))  # fmt: skip
    frame = bytes(12) + b"\x08\0" + ip + tcp
    head = struct.pack("<IIII", t_ns // 10**9, t_ns % 10**9, len(frame),
                       len(frame) + payload_bytes)  # fmt: skip
    return head + frame


def _packed(address: str) -> bytes:
    return bytes(int(part) for part in address.split("."))


def dss(data_ack: int, mapping: tuple[int, int, int] | None = None) -> bytes:
    """Return a DSS option with an 8-octet data ack and maybe a mapping (dsn, ssn, length)."""
    body = struct.pack(">Q", data_ack % 2**64)
    if mapping is not None:
        body += struct.pack(">QIH", mapping[0] % 2**64, mapping[1], mapping[2])
    return bytes([30, 4 + len(body), 0x20, 0x03 | (0x0C if mapping else 0)]) + body


def option(subtype_flags: int, *parts: bytes) -> bytes:
    """Return an MPTCP option: subtype and first flags in one byte, then the rest."""
    body = bytes([subtype_flags]) + b"".join(parts)
    return bytes([30, 2 + len(body)]) + body


def handshake(path: str, t_s: float, rtt_s: float) -> list[tuple[float, bytes]]:
    """Return the SYN, SYN/ACK and ACK of a path's subflow."""
    up = (LAPTOP[path], PORTS[path], PROXY, PROXY_PORT)
    down = (PROXY, PROXY_PORT, LAPTOP[path], PORTS[path])
    if path == "wifi":
        options = (
            bytes([30, 4, 0x01, 0x01]),
            bytes([30, 12, 0x01, 0x01]) + SERVER_KEY.to_bytes(8, "big"),
            bytes([30, 20, 0x01, 0x01]) + struct.pack(">QQ", CLIENT_KEY, SERVER_KEY),
        )
    else:
        token = token_of(SERVER_KEY)
        options = (
            bytes([30, 12, 0x10, 1]) + struct.pack(">II", token, 1),
            bytes([30, 16, 0x10, 0]) + bytes(12),
            bytes([30, 24, 0x10, 0]) + bytes(20),
        )
    steps = ((t_s, up, 0, 0, SYN), (t_s + rtt_s, down, ISN[path], 1, SYN | ACK),
             (t_s + rtt_s, up, 1, ISN[path] + 1, ACK))  # fmt: skip
    return [
        (at, tcp_packet(_ns(at), ends, seq, ack, flags, option))
        for (at, ends, seq, ack, flags), option in zip(steps, options, strict=True)
    ]


def _ns(t_s: float) -> int:
    return START_S * 10**9 + round(t_s * 1e9)


def trace_ms(ride: Ride) -> list[int]:
    """Return opportunities whose rate wanders between the ride's bounds."""
    rng = np.random.default_rng(ride.seed)
    knots = rng.uniform(*ride.cell_bps, int(ride.end_s) + 3)
    times = np.arange(0, ride.end_s + 1, 1e-3)
    served = np.cumsum(np.interp(times, np.arange(knots.size), knots) / 8 * 1e-3 / 1500)
    return np.searchsorted(served, np.arange(1, int(served[-1]))).tolist()


def arrivals(ride: Ride) -> dict[str, np.ndarray]:
    """Return when data packets arrive at each interface."""
    cell = np.array(trace_ms(ride)) / 1e3 + ride.cell_delay_s
    step = IP_BYTES * 8 / ride.wifi_bps
    wifi = [np.arange(a + ride.association_s, b, step) for a, b in ride.stations]
    both = {"3g": cell[(cell > 0.6)], "wifi": np.concatenate(wifi) if wifi else np.zeros(0)}
    return {path: times[times < ride.end_s - 0.2] for path, times in both.items()}


def assign_data(ride: Ride) -> list[tuple[float, str, int]]:
    """Return (time, path, packet number) of what arrives; packets are numbered as they are sent."""
    times = arrivals(ride)
    delay = {"wifi": ride.wifi_delay_s, "3g": ride.cell_delay_s}
    sent = [(t - delay[path], t, path) for path, ts in times.items() for t in ts.tolist()]
    lost_after = [
        end - ride.lost_packets * IP_BYTES * 8 / ride.wifi_bps for _, end in ride.stations
    ]
    ends = [end for _, end in ride.stations]
    found, again, number = [], [], 0
    for _, t, path in sorted(sent):
        due = again and again[0][0] <= t and path == "3g"
        if due:
            found.append((t, path, again.pop(0)[1]))
            continue
        is_lost = path == "wifi" and any(a <= t < b for a, b in zip(lost_after, ends, strict=True))
        if is_lost:
            again.append((t + ride.recovery_s, number))
        else:
            found.append((t, path, number))
        number += 1
    # What nobody had time to send again ends the file.
    whole = min((n for _, n in again), default=number)
    return [row for row in found if row[2] < whole]


def packets(ride: Ride) -> tuple[dict[str, list[tuple[float, bytes]]], int]:
    """Return each path's pcap records by time, and the size of the file."""
    records = {
        "wifi": handshake("wifi", 0.1, 2 * ride.wifi_delay_s),
        "3g": handshake("3g", 0.3, 2 * ride.cell_delay_s),
    }
    rows, offset = assign_data(ride), {"wifi": 1, "3g": 1}
    for t, path, number in rows:
        down = (PROXY, PROXY_PORT, LAPTOP[path], PORTS[path])
        up = (LAPTOP[path], PORTS[path], PROXY, PROXY_PORT)
        dsn, seq = IDSN + number * PAYLOAD, ISN[path] + offset[path]
        option = TIMESTAMPS + dss(CLIENT_KEY, (dsn, offset[path], PAYLOAD))
        offset[path] += PAYLOAD
        records[path] += [
            (t, tcp_packet(_ns(t), down, seq, 1, ACK | PSH, option, PAYLOAD)),
            (t, tcp_packet(_ns(t) + 5000, up, 1, seq + PAYLOAD, ACK,
                           TIMESTAMPS + dss(dsn + PAYLOAD))),
        ]  # fmt: skip
    return records, (max(n for _, _, n in rows) + 1) * PAYLOAD


def pcap_bytes(records: list[bytes]) -> bytes:
    """Return a whole file: nanoseconds, little endian, Ethernet."""
    return struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 128, 1) + b"".join(records)


COUNTERS = """\
MPTcpExt: MPCapableSYNTX MPCapableSYNACKRX MPCapableFallbackACK MPCapableFallbackSYNACK MPJoinSynTx
MPTcpExt: {0} {0} 0 0 {0}
Tcp: RtoAlgorithm RetransSegs
Tcp: 1 {0}
"""


def describe(ride: Ride, size: int) -> dict[str, Any]:
    """Return run.json."""
    free = {"rate_bps": None, "one_way_delay_s": 0.0, "queue_bytes": None, "loss_fraction": 0.0,
            "trace": None}  # fmt: skip
    trace = {"file": "synthetic-3g", "offset_s": 0, "opportunities_ms": trace_ms(ride),
             "period_ms": None}  # fmt: skip
    wifi = free | {"rate_bps": ride.wifi_bps, "one_way_delay_s": ride.wifi_delay_s}
    cell = free | {"one_way_delay_s": ride.cell_delay_s}
    links = [
        {"name": "wifi", "a": "laptop", "b": "ap", "a_interface": "wlan0",
         "b_interface": "ap-laptop", "a_to_b": wifi, "b_to_a": wifi},
        {"name": "3g", "a": "laptop", "b": "nodeb", "a_interface": "cell0",
         "b_interface": "nodeb-laptop", "a_to_b": cell, "b_to_a": cell | {"trace": trace}},
    ]  # fmt: skip
    interfaces = {"wifi": "wlan0", "3g": "cell0"}
    named = [(p, {"node": "laptop", "interface": interfaces[p]}) for p in interfaces]
    return {
        "experiment": "offload", "seed": ride.seed, "duration_s": ride.end_s,
        "topology": {
            "nodes": ["laptop", "ap", "nodeb", "proxy"], "links": links,
            "paths": [place | {"name": p, "address": LAPTOP[p]} for p, place in named]},
        "ride": {"stations": [list(span) for span in ride.stations]},
        "workload": {"name": "download", "client": "laptop", "size_bytes": size,
                     "sha256": hashlib.sha256(b"").hexdigest()},
        "mptcp": {"congestion_control": "cubic"},
        "captures": [place | {"path": p, "file": f"laptop.{p}.pcap"} for p, place in named],
    } | ride.run  # fmt: skip


def write_ride(directory: Path, ride: Ride | None = None) -> Path:
    """Write a run directory that deserves the verdict "valid", and return it."""
    ride = ride or Ride()
    raw = directory / "raw"
    raw.mkdir(parents=True)
    records, size = packets(ride)
    links: dict[str, Any] = {}
    for path, rows in records.items():
        rows = sorted(rows, key=lambda row: row[0])
        (raw / f"laptop.{path}.pcap").write_bytes(pcap_bytes([record for _, record in rows]))
        count = len(rows)
        (raw / f"laptop.{path}.tcpdump.txt").write_text(
            "tcpdump: listening on x, link-type EN10MB (Ethernet), snapshot length 128 bytes\n"
            f"{count} packets captured\n{count} packets received by filter\n"
            "0 packets dropped by kernel\n"
        )
        delivered = IP_BYTES * (count // 2 - 1)
        links[path] = {"a_to_b": {"delivered_bytes": 80 * count // 2},
                       "b_to_a": {"delivered_bytes": delivered, "max_backlog": 60_000}}  # fmt: skip
    (raw / "links.start.json").write_text("{}")
    (raw / "links.end.json").write_text(json.dumps(links))
    for when, value in (("start", 0), ("end", 1)):
        (raw / f"laptop.nstat.{when}.txt").write_text(COUNTERS.format(value))
    run = describe(ride, size)
    workload = {"exit_status": 0, "sha256": run["workload"]["sha256"], "size_bytes": size,
                "started_s": 0.1, "ended_s": ride.end_s}  # fmt: skip
    manifest = {
        "status": "complete", "started_unix_s": START_S, "virtual_s": ride.end_s, "wall_s": 2.5,
        "backend": "lab", "seed": ride.seed, "tools": {}, "workload": workload,
        "kernel": {"release": "7.3.4-lab", "id": "synthetic", "config_sha256": "0" * 64},
    }  # fmt: skip
    (directory / "run.json").write_text(json.dumps(run))
    (directory / "manifest.json").write_text(json.dumps(manifest))
    return directory
