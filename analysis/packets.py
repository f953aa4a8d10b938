# SPDX-License-Identifier: Apache-2.0
"""Pick a host's TCP packets out of a capture and make the rows of packets.parquet of them.

That table has about 90 bytes a packet and is never in memory as a whole; what later stages need of
the packets is in `survey`.
"""

import ipaddress
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa  # type: ignore[import-untyped]

from analysis.parse.pcap import Chunk
from analysis.parse.places import Int64
from analysis.tables import RX, TX, Origin

# Column -> Arrow type, after the five key columns.
PACKET_COLUMNS = {
    "t_ns": "int64",  # since the run's start
    "packet": "int64",  # place in the capture file, from 0
    "direction": "category",
    "ip_bytes": "uint32",
    "payload_bytes": "uint32",
    "seq": "uint32",
    "ack": "uint32",
    "flags": "uint16",
    "window": "uint16",
    "mptcp": "uint16",
    "dss_flags": "uint8",
    "mapped": "uint8",
    "dsn": "uint64",
    "data_ack": "uint64",
    "ssn": "uint32",
    "map_bytes": "uint16",
    "local_address": "category",
    "local_port": "uint16",
    "remote_address": "category",
    "remote_port": "uint16",
}
TEXTS = pa.dictionary(pa.int32(), pa.string())
PACKET_SCHEMA = pa.schema([
    ("run_id", TEXTS), ("t_s", pa.float64()), ("host", TEXTS), ("path", TEXTS),
    ("subflow", pa.int32()),
    *((name, TEXTS if kind == "category" else pa.type_for_alias(kind))
      for name, kind in PACKET_COLUMNS.items()),
])  # fmt: skip


class Ends(NamedTuple):
    """The two ends of a TCP connection, from the side of the captured host."""

    local_address: str
    local_port: int
    remote_address: str
    remote_port: int

    @property
    def local(self) -> str:
        """Return address:port."""
        return f"{self.local_address}:{self.local_port}"

    @property
    def remote(self) -> str:
        """Return address:port."""
        return f"{self.remote_address}:{self.remote_port}"


class Own(NamedTuple):
    """The TCP packets of a chunk that one of a host's addresses sent or received, n each."""

    packets: npt.NDArray[np.void]  # dtype PACKET
    number: Int64  # place in the capture file
    is_sent: npt.NDArray[np.bool_]
    between: Int64  # index in `ends`
    ends: list[Ends]


def own_packets(chunk: Chunk, addresses: list[str]) -> Own:
    """Return the TCP packets of a chunk that are from or to one of the addresses."""
    places, is_sent = _find(chunk, addresses)
    packets = chunk.packets if places.size == chunk.packets.size else chunk.packets[places]
    between, ends = _ends(packets, is_sent, chunk.addresses6)
    return Own(packets, places + chunk.first_packet, is_sent, between, ends)


def count_foreign(chunk: Chunk, addresses: list[str]) -> int:
    """Return how many TCP packets of a chunk are from or to one of the addresses."""
    return _find(chunk, addresses)[0].size


def _find(chunk: Chunk, addresses: list[str]) -> tuple[Int64, npt.NDArray[np.bool_]]:
    """Return which TCP packets are from or to the addresses, and which of those are from them."""
    packets = chunk.packets
    is_sent = np.zeros(packets.size, dtype=bool)
    is_received = np.zeros(packets.size, dtype=bool)
    for address in map(ipaddress.ip_address, addresses):
        if address.version == 4:
            number = int(address)
        elif address.packed in chunk.addresses6:
            number = chunk.addresses6.index(address.packed)
        else:
            continue
        is_version = packets["ip_version"] == address.version
        is_sent |= is_version & (packets["src"] == number)
        is_received |= is_version & (packets["dst"] == number)
    places = np.flatnonzero((packets["tcp_header_bytes"] > 0) & (is_sent | is_received))
    return places, is_sent[places]


def _ends(
    packets: npt.NDArray[np.void], is_sent: npt.NDArray[np.bool_], addresses6: list[bytes]
) -> tuple[Int64, list[Ends]]:
    """Return the distinct pairs of ends in order of appearance, and each packet's among them."""
    here, there = (packets[name].astype(np.int64) for name in ("src", "dst"))
    here, there = np.where(is_sent, here, there), np.where(is_sent, there, here)
    sport, dport = (packets[name].astype(np.int64) for name in ("sport", "dport"))
    ports = np.where(is_sent, sport << 16 | dport, dport << 16 | sport)
    hosts, known = pd.factorize((here << 32 | there).view(np.uint64))
    six = (packets["ip_version"] == 6).astype(np.int64)
    between, keys = pd.factorize(hosts << 33 | six << 32 | ports)
    ends = []
    for key in keys.tolist():
        pair = int(known[key >> 33])
        local, remote = (
            str(ipaddress.ip_address(addresses6[number] if key >> 32 & 1 else number))
            for number in (pair >> 32, pair & 0xFFFFFFFF)
        )
        ends.append(Ends(local, key >> 16 & 0xFFFF, remote, key & 0xFFFF))
    return np.asarray(between, dtype=np.int64), ends


def packet_table(own: Own, origin: Origin, subflows: Mapping[Any, int]) -> pa.Table:
    """Return the rows of packets.parquet for a chunk.

    Args:
        own: the packets of the chunk.
        origin: where the capture was taken.
        subflows: {(host, path, local, remote): subflow}, as from `subflows.numbers_of`.
    """
    count, t_ns = own.number.size, own.packets["t_ns"] - origin.start_ns
    numbers = [subflows[origin.host, origin.path, end.local, end.remote] for end in own.ends]
    columns: dict[str, Any] = {
        "run_id": _texts(np.zeros(count, np.int32), [origin.run_id]),
        "t_s": t_ns / 1e9,
        "host": _texts(np.zeros(count, np.int32), [origin.host]),
        "path": _texts(np.zeros(count, np.int32), [origin.path]),
        "subflow": np.array(numbers, dtype=np.int32)[own.between],
        "t_ns": t_ns,
        "packet": own.number,
        "direction": _texts(own.is_sent.astype(np.int32), [RX, TX]),
    }
    for side in ("local", "remote"):
        codes, names = pd.factorize(
            np.array([getattr(end, f"{side}_address") for end in own.ends], dtype=object)
        )
        ports = np.array([getattr(end, f"{side}_port") for end in own.ends], dtype=np.uint16)
        columns[f"{side}_address"] = _texts(codes.astype(np.int32)[own.between], list(names))
        columns[f"{side}_port"] = ports[own.between]
    for name in PACKET_COLUMNS:
        if name not in columns:
            columns[name] = np.ascontiguousarray(own.packets[name])
    return pa.table([pa.array(columns[name]) for name in PACKET_SCHEMA.names], PACKET_SCHEMA)


def _texts(codes: npt.NDArray[np.int32], names: list[str]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(names, pa.string()))
