# SPDX-License-Identifier: Apache-2.0
"""Tell subflows and connections apart: which TCP connection belongs to which MPTCP connection.

A connection is known by its two tokens. MP_CAPABLE carries the keys from which they are made, the
SYN of an MP_JOIN carries the token of the side that it is sent to (RFC 8684 sections 3.1, 3.2).
"""

import functools
import operator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from analysis.parse.mptcp import MP_CAPABLE, MP_JOIN, token_of
from analysis.tables import KEYS, TX

FLAG_FIN, FLAG_SYN, FLAG_RST, FLAG_ACK = 0x01, 0x02, 0x04, 0x10
SUBFLOW_COLUMNS = {
    "connection": "int32",  # -1: a join of a connection whose beginning was not captured
    "kind": "str",  # "initial" (MP_CAPABLE), "join" (MP_JOIN) or "tcp" (neither, or not answered)
    "local": "str",  # address:port on the host of the path
    "remote": "str",
    "syn_s": "float64",
    "synack_s": "float64",
    "handshake_rtt_ms": "float64",  # the last SYN to the SYN/ACK, at the capturing interface
    "isn_rx": "Int64",
    "isn_tx": "Int64",
    "is_asked": "bool",  # the SYN carried an MPTCP option
    "is_mptcp": "bool",  # both SYN and SYN/ACK carried an MPTCP option
    "token_local": "str",
    "token_remote": "str",
}


def describe_subflows(
    firsts: pd.DataFrame, opening: pd.DataFrame, events: pd.DataFrame
) -> pd.DataFrame:
    """Return one row per subflow.

    Args:
        firsts: key columns, local and remote of every subflow, by number.
        opening: the packets with SYN: subflow, t_s, is_sent, seq, flags, mptcp.
        events: Frames.events.
    """
    packets: dict[int, list[Opening]] = {}
    for row in opening[["subflow", *Opening._fields]].itertuples(index=False, name=None):
        packets.setdefault(row[0], []).append(Opening(*row[1:]))
    handshakes = [_describe(packets.get(number, [])) for number in firsts["subflow"]]
    described = pd.DataFrame(handshakes, columns=[n for n in SUBFLOW_COLUMNS if n not in firsts])
    frame = pd.concat([firsts, described], axis=1)[[*KEYS, *SUBFLOW_COLUMNS]]
    frame = frame.astype({**SUBFLOW_COLUMNS, "subflow": "int32", "t_s": "float64"})
    return _assign_connections(frame, events)


class Opening(NamedTuple):
    """A packet with SYN."""

    t_s: float
    is_sent: bool
    seq: int
    flags: int
    mptcp: int


def _describe(opening: list[Opening]) -> dict[str, Any]:
    """Describe one subflow by its SYN and SYN/ACK packets."""
    syn = [packet for packet in opening if not packet.flags & FLAG_ACK]
    synack = [packet for packet in opening if packet.flags & FLAG_ACK]
    asked = functools.reduce(operator.or_, (packet.mptcp for packet in syn), 0)
    answered = functools.reduce(operator.or_, (packet.mptcp for packet in synack), 0)
    row: dict[str, Any] = {
        "connection": -1,
        "kind": "tcp",
        "syn_s": min((packet.t_s for packet in syn), default=np.nan),
        "synack_s": min((packet.t_s for packet in synack), default=np.nan),
        "handshake_rtt_ms": np.nan,
        "isn_rx": next((packet.seq for packet in opening if not packet.is_sent), pd.NA),
        "isn_tx": next((packet.seq for packet in opening if packet.is_sent), pd.NA),
        "is_asked": bool(asked >> MP_CAPABLE & 1 or asked >> MP_JOIN & 1),
        "is_mptcp": False,
        "token_local": "",
        "token_remote": "",
    }
    for bit, kind in ((MP_CAPABLE, "initial"), (MP_JOIN, "join")):
        if asked >> bit & 1 and (answered >> bit & 1 or not synack):
            row["kind"], row["is_mptcp"] = kind, bool(answered >> bit & 1)
    if syn and synack:
        before = [packet.t_s for packet in syn if packet.t_s <= synack[0].t_s]
        # Only at the side that asked is the SYN to SYN/ACK time a round trip.
        if before and syn[0].is_sent:
            row["handshake_rtt_ms"] = (synack[0].t_s - before[-1]) * 1e3
    return row


def _assign_connections(subflows: pd.DataFrame, events: pd.DataFrame) -> pd.DataFrame:
    """Number the connections and give each subflow its own; tokens in hexadecimal."""
    keys = events[(events["subtype"] == "MP_CAPABLE") & (events["sender_key"] != "")]
    joins = events[(events["subtype"] == "MP_JOIN") & (events["token"] != "")]
    known: dict[str, int] = {}
    connection, local, remote = [], [], []
    number = 0
    pairs: dict[int, list[tuple[str, str]]] = {}
    for subflow, side, key in zip(
        keys["subflow"], keys["direction"], keys["sender_key"], strict=True
    ):
        pairs.setdefault(subflow, []).append((side, f"{token_of(int(key, 16)):08x}"))
    joined = dict(zip(joins["subflow"], joins["token"], strict=True))
    sides = dict(zip(joins["subflow"], joins["direction"], strict=True))
    for subflow, kind in zip(subflows["subflow"], subflows["kind"], strict=True):
        tokens = {"rx": "", "tx": ""}
        if kind == "initial":
            tokens |= dict(pairs.get(subflow, []))
            known |= {token: number for token in tokens.values() if token}
        elif kind == "join" and subflow in joined:
            tokens["rx" if sides[subflow] == TX else "tx"] = joined[subflow]
        if kind == "join":
            connection.append(known.get(joined.get(subflow, ""), -1))
        else:
            connection.append(number)
            number += 1
        local.append(tokens["tx"])
        remote.append(tokens["rx"])
    return subflows.assign(
        connection=np.array(connection, dtype=np.int32), token_local=local, token_remote=remote
    )


def numbers_of(subflows: pd.DataFrame) -> dict[tuple[str, str, str, str], int]:
    """Return {(host, path, local endpoint, remote endpoint): subflow}."""
    columns = (subflows[name] for name in ("host", "path", "local", "remote", "subflow"))
    return {(*place, end, far): n for *place, end, far, n in zip(*columns, strict=True)}


def subflow_of_socket(subflows: pd.DataFrame) -> dict[tuple[str, str], int]:
    """Return {(local endpoint, remote endpoint): subflow}, seen from either side."""
    pairs: dict[tuple[str, str], int] = {}
    columns = (subflows[name] for name in ("local", "remote", "subflow"))
    for local, remote, subflow in zip(*columns, strict=True):
        pairs.setdefault((local, remote), int(subflow))
        pairs.setdefault((remote, local), int(subflow))
    return pairs
