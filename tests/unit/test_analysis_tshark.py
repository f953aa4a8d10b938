# SPDX-License-Identifier: Apache-2.0
"""The capture parser agrees with tshark in every field of every recorded packet."""

import ipaddress
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from analysis.parse.mptcp import Event
from analysis.parse.pcap import Chunk, read_packets
from tests.unit.analysis_recorded import CAPTURES
from tests.unit.analysis_synthetic import ACK, ENDS, SYN, dss, option, pcap_bytes, tcp_packet

FIELDS = (
    "frame.time_epoch",
    "frame.len",
    "ip.len",
    "ip.src",
    "ip.dst",
    "ipv6.src",
    "ipv6.dst",
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
    "tcp.options.mptcp.version",
    "tcp.options.mptcp.sendkey",
    "tcp.options.mptcp.recvkey",
    "tcp.options.mptcp.recvtok",
    "tcp.options.mptcp.sendrand",
    "tcp.options.mptcp.addrid",
    "tcp.options.mptcp.ipv4",
    "tcp.options.mptcp.ipv6",
    "tcp.options.mptcp.echo",
    "tcp.options.mptcp.port",
    "tcp.options.mptcp.rst_reason",
    "tcp.options.mptcp.sendtrunchmac",
    "tcp.options.mptcp.sendhmac",
    "tcp.options.mptcp.addaddrtrunchmac",
    "tcp.options.mptcp.backup.flag",
)


def invented_options() -> list[bytes]:
    """What the recorded captures lack."""
    ip6 = ipaddress.ip_address("2001:db8::7").packed
    return [
        bytes([30, 8, 0x20, 0x01]) + struct.pack(">I", 0xFEDCBA98),  # 4-octet data ack
        bytes([30, 18, 0x20, 0x05]) + struct.pack(">IIIH", 1, 0xFFFFFFF0, 77, 1400),
        bytes([30, 28, 0x20, 0x0F]) + struct.pack(">QQIHH", 2**64 - 1, 2**63, 1, 9, 0xABCD),
        dss(5, (2**64 - 1, 2**32 - 1, 65535)),
        option(0x60, b"\0", struct.pack(">Q", 2**64 - 5)),  # MP_FAIL
        option(0x30, b"\7", bytes([10, 9, 8, 7]), struct.pack(">H", 8080), b"h" * 8),
        option(0x30, b"\x08", ip6, b"h" * 8),
        option(0x31, b"\x09", ip6, struct.pack(">H", 443)),
        option(0x40, b"\1\2\3"),
        option(0x51),
        option(0x83, b"\6"),
        option(0x11, b"\2", struct.pack(">II", 0xDEADBEEF, 42)),
    ]


def ip6_record(options: bytes) -> bytes:
    tcp = struct.pack(">HHIIHHHH", 5, 6, 7, 8, (20 + len(options)) // 4 << 12 | 0x110, 9, 0, 0)
    addresses = b"".join(ipaddress.ip_address(a).packed for a in ("2001:db8::1", "2001:db8::2"))
    size = len(tcp + options) + 30
    frame = bytes(12) + b"\x86\xdd" + struct.pack(">IHBB", 6 << 28, size, 6, 64) + addresses
    frame += tcp + options
    return struct.pack("<IIII", 1_700_000_000, 5, len(frame), len(frame) + 30) + frame


def merged_capture() -> bytes:
    """All recorded captures and the invented packets in one file, for one run of tshark."""
    records = [file.read_bytes()[24:] for file in CAPTURES]
    for number, raw in enumerate(invented_options()):
        flags = SYN if raw[2] == 0x11 else ACK
        records.append(tcp_packet(10**18 + number, ENDS, 2**32 - 1, 3, flags, raw, 100))
    padded = dss(9, (8, 7, 30))
    records.append(ip6_record(padded + b"\1" * (-len(padded) % 4)))
    vlan = tcp_packet(1, ENDS, 1, 1, ACK, dss(1), 5)
    head = list(struct.unpack("<IIII", vlan[:16]))
    frame = vlan[16:28] + b"\x81\0\0\x05" + vlan[28:]
    records.append(struct.pack("<IIII", *head[:2], head[2] + 4, head[3] + 4) + frame)
    arp = bytes(12) + b"\x08\x06" + bytes(28)
    records.append(struct.pack("<IIII", 1, 1, len(arp), len(arp)) + arp)
    return pcap_bytes(records)


def from_tshark(file: Path) -> list[dict[str, list[str]]]:
    argv = ["tshark", "-n", "-r", str(file), "-T", "fields", "-E", "occurrence=a"]
    argv += [word for field in FIELDS for word in ("-e", field)]
    text = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60).stdout
    return [
        {f: v.split(",") if v else [] for f, v in zip(FIELDS, line.split("\t"), strict=True)}
        for line in text.splitlines()
    ]


def from_parser(chunk: Chunk) -> list[dict[str, list[str]]]:
    """Bring the parser's columns into tshark's form."""
    rows = []
    for packet in chunk.packets:
        row: dict[str, list[str]] = {field: [] for field in FIELDS}
        seconds, fraction = divmod(int(packet["t_ns"]), 10**9)
        row["frame.time_epoch"] = [f"{seconds}.{fraction:09d}"]
        row["frame.len"] = [str(packet["wire_bytes"])]
        if packet["ip_version"]:
            prefix = "ip" if packet["ip_version"] == 4 else "ipv6"
            for end in ("src", "dst"):
                number = int(packet[end])
                known = number if prefix == "ip" else chunk.addresses6[number]
                row[f"{prefix}.{end}"] = [str(ipaddress.ip_address(known))]
            if prefix == "ip":
                row["ip.len"] = [str(packet["ip_bytes"])]
        if packet["tcp_header_bytes"]:
            names = {"srcport": "sport", "dstport": "dport", "seq_raw": "seq", "ack_raw": "ack",
                     "window_size_value": "window", "len": "payload_bytes"}  # fmt: skip
            row |= {f"tcp.{theirs}": [str(packet[ours])] for theirs, ours in names.items()}
            row["tcp.flags"] = [f"0x{packet['flags']:04x}"]
        subtypes = [str(n) for n in range(16) if packet["mptcp"] >> n & 1]
        row["tcp.options.mptcp.subtype"] = subtypes
        if packet["dss_flags"] & 1:
            row["tcp.options.mptcp.rawdataack"] = [str(packet["data_ack"])]
        if packet["dss_flags"] & 4:
            row["tcp.options.mptcp.rawdataseqno"] = [str(packet["dsn"])]
            row["tcp.options.mptcp.subflowseqno"] = [str(packet["ssn"])]
            row["tcp.options.mptcp.datalvllen"] = [str(packet["map_bytes"])]
        rows.append(row)
    for event in chunk.events:
        add_event(rows[event.packet], event)
    return rows


def add_event(row: dict[str, list[str]], event: Event) -> None:
    values = {name: getattr(event, name) for name in event.__slots__}
    subtype, prefix = values["subtype"], "tcp.options.mptcp."
    names = {"version": "version", "sender_key": "sendkey", "receiver_key": "recvkey",
             "token": "recvtok", "nonce": "sendrand", "port": "port", "dsn": "rawdataseqno",
             "map_bytes": "datalvllen", "reason": "rst_reason"}  # fmt: skip
    for ours, theirs in names.items():
        if values[ours] is not None:
            row[prefix + theirs] = [str(values[ours])]
    row[prefix + "addrid"] = [str(number) for number in values["address_ids"]]
    if values["address"]:
        row[prefix + ("ipv6" if ":" in values["address"] else "ipv4")] = [values["address"]]
    if subtype == "ADD_ADDR":
        row[prefix + "echo"] = [str(values["flags"] & 1)]
    if values["hmac"]:
        name = {"ADD_ADDR": "addaddrtrunchmac", "MP_JOIN": "sendhmac"}[subtype]
        if subtype == "MP_JOIN" and len(values["hmac"]) == 16:
            name = "sendtrunchmac"
        # tshark prints 8 octets as a number.
        is_short = len(values["hmac"]) == 16
        row[prefix + name] = [str(int(values["hmac"], 16)) if is_short else values["hmac"]]
    is_saying = subtype == "MP_PRIO" or (subtype == "MP_JOIN" and values["flags"] is not None)
    if is_saying:
        row[prefix + "backup.flag"] = [str(values["flags"] & 1)]


def normal(values: list[str]) -> list[str]:
    """Undo differences of form: hexadecimal, booleans, the order of two options in a packet."""
    words = {"True": "1", "False": "0"}
    plain = [str(int(value, 16)) if value.startswith("0x") else value for value in values]
    return sorted(words.get(value, value) for value in plain)


def test_every_field_is_what_tshark_says(tmp_path: Path) -> None:
    if shutil.which("tshark") is None:
        pytest.skip("needs tshark, install it with: apt install tshark")
    file = tmp_path / "merged.pcap"
    file.write_bytes(merged_capture())

    ours, theirs = from_parser(read_packets(file.read_bytes())), from_tshark(file)

    assert len(theirs) == len(ours) > 3000
    for number, (mine, wanted) in enumerate(zip(ours, theirs, strict=True), 1):
        for name in FIELDS:
            assert normal(mine[name]) == normal(wanted[name]), (number, name)
