# SPDX-License-Identifier: Apache-2.0
"""Read socket statistics: the kernel's own answers to sock_diag, as the collector stored them.

Storing bytes keeps the collector fast and loses nothing; what a kernel is too old to tell is zero
here and marked by the length of its answer. Layouts: include/uapi/linux/inet_diag.h, tcp.h,
mptcp.h, mptcp_pm.h of Linux 7.3.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from testbed.errors import RunInvalid

RECORD = struct.Struct("<QII")  # Unix time in ns, protocol, bytes of netlink messages
MESSAGE = struct.Struct("<IHHII")  # nlmsghdr
ATTRIBUTE = struct.Struct("<HH")  # nlattr
PROTOCOL_TCP, PROTOCOL_MPTCP = 6, 262
NLMSG_ERROR, NLMSG_DONE, SOCK_DIAG_BY_FAMILY = 2, 3, 20
DIAG_INFO, DIAG_CONG, DIAG_SKMEMINFO, DIAG_ULP_INFO = 2, 4, 7, 19
ULP_INFO_MPTCP = 3
SUBFLOW_TOKEN_REM, SUBFLOW_TOKEN_LOC, SUBFLOW_FLAGS, SUBFLOW_ID_REM, SUBFLOW_ID_LOC = 1, 2, 8, 9, 10
NLA_TYPE_MASK = 0x3FFF  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER
SUBFLOW_FIELDS = {
    SUBFLOW_TOKEN_REM: "token_remote",
    SUBFLOW_TOKEN_LOC: "token_local",
    SUBFLOW_FLAGS: "subflow_flags",
    SUBFLOW_ID_REM: "id_remote",
    SUBFLOW_ID_LOC: "id_local",
}

# SK_MEMINFO_RMEM_ALLOC, RCVBUF, WMEM_ALLOC, SNDBUF
MEMORY = np.dtype(
    [(name, "<u4") for name in ("rmem_bytes", "rcvbuf_bytes", "wmem_bytes", "sndbuf_bytes")]
)

DIAG_MESSAGE = np.dtype(
    [
        *((name, "u1") for name in ("family", "state", "timer", "retrans")),
        ("sport", ">u2"),
        ("dport", ">u2"),
        ("src", ">u4", 4),
        ("dst", ">u4", 4),
        ("interface", "<u4"),
        ("cookie", "<u8"),
        *((name, "<u4") for name in ("expires_ms", "rqueue", "wqueue", "uid", "inode")),
    ]
)


def _u(bits: int, names: str) -> list[tuple[str, str]]:
    """Return consecutive unsigned fields of a struct."""
    return [(name, f"<u{bits // 8}") for name in names.split()]


# Times in us, except last_* and rto_time (ms); rates in bytes per second; cwnd in packets.
TCP_INFO = np.dtype(
    [
        *_u(8, "state ca_state retransmits probes backoff options wscale app_limited"),
        *_u(32, "rto_us ato_us snd_mss rcv_mss unacked sacked lost retrans fackets"),
        *_u(32, "last_data_sent_ms last_ack_sent_ms last_data_recv_ms last_ack_recv_ms"),
        *_u(32, "pmtu rcv_ssthresh rtt_us rttvar_us snd_ssthresh snd_cwnd advmss reordering"),
        *_u(32, "rcv_rtt_us rcv_space total_retrans"),
        *_u(64, "pacing_rate max_pacing_rate bytes_acked bytes_received"),
        *_u(32, "segs_out segs_in notsent_bytes min_rtt_us data_segs_in data_segs_out"),
        *_u(64, "delivery_rate busy_time_us rwnd_limited_us sndbuf_limited_us"),
        *_u(32, "delivered delivered_ce"),
        *_u(64, "bytes_sent bytes_retrans"),
        *_u(32, "dsack_dups reord_seen rcv_ooopack snd_wnd rcv_wnd rehash"),
        *_u(16, "total_rto total_rto_recoveries"),
        *_u(32, "total_rto_time_ms received_ce"),
    ]
)
MPTCP_INFO = np.dtype(
    [
        *_u(8, "subflows add_addr_signal add_addr_accepted"),
        *_u(8, "subflows_max add_addr_signal_max add_addr_accepted_max hole0 hole1"),
        *_u(32, "flags token"),
        *_u(64, "write_seq snd_una rcv_nxt"),
        *_u(8, "local_addr_used local_addr_max csum_enabled hole2"),
        *_u(32, "retransmits"),
        *_u(64, "bytes_retrans bytes_sent bytes_received bytes_acked"),
        *_u(8, "subflows_total endpoint_laminar_max endpoint_fullmesh_max reserved"),
        *_u(32, "last_data_sent_ms last_data_recv_ms last_ack_recv_ms"),
    ]
)
MPTCP_FLAG_FALLBACK = 1  # MPTCP_INFO_FLAG_FALLBACK
SOCKET = [
    ("t_ns", "i8"),
    ("info_bytes", "u2"),  # how much of the info structure the kernel filled
    ("is_subflow", "u1"),  # 1: the kernel reports MPTCP state for this TCP socket
    ("token_remote", "u4"),
    ("token_local", "u4"),
    ("subflow_flags", "u4"),
    ("id_remote", "u1"),
    ("id_local", "u1"),
    ("congestion_control", "S16"),
    ("rmem_bytes", "u4"),
    ("rcvbuf_bytes", "u4"),
    ("wmem_bytes", "u4"),
    ("sndbuf_bytes", "u4"),
    ("diag", DIAG_MESSAGE),
]


class Sockets(NamedTuple):
    """Samples of sockets: structured arrays with the fields of SOCKET and an `info`."""

    tcp: npt.NDArray[np.void]  # info: TCP_INFO
    mptcp: npt.NDArray[np.void]  # info: MPTCP_INFO


class Sample(NamedTuple):
    """One socket in one dump, still in bytes."""

    t_ns: int
    diag: bytes
    attributes: dict[int, bytes]


def parse_ss(data: bytes | memoryview) -> Sockets:
    """Read a file of socket statistics, in file order.

    Args:
        data: records of `<QII` and raw netlink messages; a record that the end of the file cuts
            off is left out.

    Raises:
        RunInvalid: a message is impossible, or the kernel answered with an error.
    """
    found: dict[int, list[Sample]] = {PROTOCOL_TCP: [], PROTOCOL_MPTCP: []}
    for t_ns, protocol, messages in _records(memoryview(data)):
        if protocol not in found:
            raise RunInvalid(f"a socket dump is of protocol {protocol}, neither TCP nor MPTCP")
        found[protocol] += _samples(t_ns, messages)
    return Sockets(_table(found[PROTOCOL_TCP], TCP_INFO), _table(found[PROTOCOL_MPTCP], MPTCP_INFO))


def _records(data: memoryview) -> Iterator[tuple[int, int, memoryview]]:
    position = 0
    while position + RECORD.size <= len(data):
        t_ns, protocol, length = RECORD.unpack_from(data, position)
        position += RECORD.size
        if position + length > len(data):
            return
        if t_ns >= 2**63:
            raise RunInvalid(f"the socket dump before byte {position} has an impossible time")
        yield t_ns, protocol, data[position : position + length]
        position += length


def _samples(t_ns: int, messages: memoryview) -> Iterator[Sample]:
    position = 0
    while position + MESSAGE.size <= len(messages):
        length, kind, _, _, _ = MESSAGE.unpack_from(messages, position)
        body = messages[position + MESSAGE.size : position + length]
        if length < MESSAGE.size or position + length > len(messages):
            raise RunInvalid(f"a message of a socket dump claims a length of {length} bytes")
        if kind == NLMSG_ERROR and len(body) >= 4 and (error := struct.unpack_from("<i", body)[0]):
            raise RunInvalid(f"the kernel refused a socket dump with error {-error}")
        if kind == SOCK_DIAG_BY_FAMILY and len(body) >= DIAG_MESSAGE.itemsize:
            size = DIAG_MESSAGE.itemsize
            yield Sample(t_ns, bytes(body[:size]), attributes(body[size:]))
        position += (length + 3) & ~3


def attributes(data: memoryview | bytes) -> dict[int, bytes]:
    """Return the values of netlink attributes by type; what does not fit ends the list."""
    values, position, content = {}, 0, bytes(data)
    end = len(content)
    while position + ATTRIBUTE.size <= end:
        length, kind = ATTRIBUTE.unpack_from(content, position)
        if length < ATTRIBUTE.size or position + length > end:
            break
        values[kind & NLA_TYPE_MASK] = content[position + ATTRIBUTE.size : position + length]
        position += (length + 3) & ~3
    return values


def _table(samples: list[Sample], info: np.dtype[np.void]) -> npt.NDArray[np.void]:
    """Build the structured array; what an attribute lacks stays zero.

    Column by column: setting the fields of one row takes numpy longer than reading them here.
    """
    table = np.zeros(len(samples), dtype=[*SOCKET, ("info", info)])
    infos, controls, memories, subflows = (
        [sample.attributes.get(kind, b"") for sample in samples]
        for kind in (DIAG_INFO, DIAG_CONG, DIAG_SKMEMINFO, DIAG_ULP_INFO)
    )
    table["t_ns"] = [sample.t_ns for sample in samples]
    table["info_bytes"] = [min(len(value), info.itemsize) for value in infos]
    table["congestion_control"] = [value.rstrip(b"\0")[:16] for value in controls]
    whole = [value if len(value) >= MEMORY.itemsize else b"" for value in memories]
    memory = _joined(MEMORY, whole)
    for name in MEMORY.names or ():
        table[name] = memory[name]
    _fill_subflows(table, subflows)
    table["diag"] = _joined(DIAG_MESSAGE, [sample.diag for sample in samples])
    table["info"] = _joined(info, infos)
    return table


def _joined(dtype: np.dtype[np.void], values: list[bytes]) -> npt.NDArray[np.void]:
    """Return one element per value; what a value lacks is zero, what it has beyond is left out."""
    size = dtype.itemsize
    joined = b"".join([value[:size].ljust(size, b"\0") for value in values])
    return np.frombuffer(joined, dtype=dtype)


def _fill_subflows(table: npt.NDArray[np.void], infos: list[bytes]) -> None:
    """Fill what INET_ULP_INFO_MPTCP says of the subflows among the sockets."""
    rows, found = [], []
    for row, info in enumerate(infos):
        mptcp = attributes(info).get(ULP_INFO_MPTCP) if info else None
        if mptcp is not None:
            rows.append(row)
            found.append(attributes(mptcp))
    table["is_subflow"][rows] = 1
    for kind, name in SUBFLOW_FIELDS.items():
        size = table.dtype[name].itemsize
        table[name][rows] = [int.from_bytes(of.get(kind, b"")[:size], "little") for of in found]
