# SPDX-License-Identifier: Apache-2.0
"""Tell subflows and connections apart: which TCP connection belongs to which MPTCP connection.

A connection is known by its two tokens. MP_CAPABLE carries the keys from which they are made, the
SYN of an MP_JOIN carries the token of the side that it is sent to (RFC 8684 sections 3.1, 3.2).
"""

from typing import Any

import numpy as np
import pandas as pd

from analysis.parse.mptcp import DSS, MP_CAPABLE, MP_JOIN, token_of
from analysis.tables import KEYS, TX

FLAG_FIN, FLAG_SYN, FLAG_RST, FLAG_ACK = 0x01, 0x02, 0x04, 0x10
TUPLE = ["host", "path", "local_address", "local_port", "remote_address", "remote_port"]
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


def number_subflows(packets: pd.DataFrame) -> pd.Series:
    """Return a number for each packet's 4-tuple per capture, in order of first appearance."""
    if packets.empty:
        return pd.Series(dtype="int32")
    numbers = packets.groupby(TUPLE, sort=False, observed=True).ngroup()
    first = packets["t_ns"].groupby(numbers).min().sort_values(kind="stable")
    order = pd.Series(np.arange(len(first), dtype=np.int32), index=first.index)
    return numbers.map(order).astype("int32")


def place_events(events: pd.DataFrame, packets: pd.DataFrame) -> pd.DataFrame:
    """Give each event the subflow and the direction of its packet."""
    where = ["host", "path", "packet"]
    carriers = packets["mptcp"].to_numpy() & (0xFFFF ^ 1 << DSS) > 0
    found = packets.loc[carriers, [*where, "subflow", "direction"]]
    bare = events.drop(columns="subflow").astype({"host": "str", "path": "str"})
    placed = bare.merge(found.astype({"host": "str", "path": "str"}), on=where, how="inner")
    return placed[[*KEYS, "direction", *bare.columns.drop(KEYS, errors="ignore")]]


def describe_subflows(packets: pd.DataFrame, events: pd.DataFrame) -> pd.DataFrame:
    """Return one row per subflow of `packets`, whose subflow column is filled.

    Args:
        packets: Frames.packets.
        events: Frames.events, with their subflow column filled.
    """
    rows = []
    opening = packets[packets["flags"] & FLAG_SYN > 0]
    by_subflow = dict(list(opening.groupby("subflow")))
    firsts = packets.drop_duplicates("subflow").sort_values("subflow")
    for first in firsts.to_dict("records"):
        rows.append(_describe(first, by_subflow.get(first["subflow"], opening.iloc[:0])))
    frame = pd.DataFrame(rows, columns=[*KEYS, *SUBFLOW_COLUMNS])
    frame = frame.astype({**SUBFLOW_COLUMNS, "subflow": "int32", "t_s": "float64"})
    return _assign_connections(frame, events)


def _describe(first: dict[Any, Any], opening: pd.DataFrame) -> dict[str, Any]:
    """Describe one subflow by its first packet and its SYN and SYN/ACK packets."""
    is_answer = opening["flags"] & FLAG_ACK > 0
    syn, synack = opening[~is_answer], opening[is_answer]
    row: dict[str, Any] = {name: first[name] for name in KEYS}
    row |= {
        "connection": -1,
        "kind": "tcp",
        "local": _endpoint(first["local_address"], first["local_port"]),
        "remote": _endpoint(first["remote_address"], first["remote_port"]),
        "syn_s": syn["t_s"].min(),
        "synack_s": synack["t_s"].min(),
        "handshake_rtt_ms": np.nan,
        "is_asked": False,
        "is_mptcp": False,
        "token_local": "",
        "token_remote": "",
    }
    for direction in ("rx", "tx"):
        sent = opening[opening["direction"] == direction]
        row[f"isn_{direction}"] = int(sent["seq"].iloc[0]) if len(sent) else pd.NA
    asked = np.bitwise_or.reduce(syn["mptcp"].to_numpy()) if len(syn) else 0
    answered = np.bitwise_or.reduce(synack["mptcp"].to_numpy()) if len(synack) else 0
    row["is_asked"] = asked >> MP_CAPABLE & 1 or asked >> MP_JOIN & 1
    for bit, kind in ((MP_CAPABLE, "initial"), (MP_JOIN, "join")):
        if asked >> bit & 1 and (answered >> bit & 1 or not len(synack)):
            row["kind"], row["is_mptcp"] = kind, bool(answered >> bit & 1)
    if len(syn) and len(synack):
        before = syn.loc[syn["t_s"] <= synack["t_s"].iloc[0], "t_s"]
        # Only at the side that asked is the SYN to SYN/ACK time a round trip.
        if len(before) and syn["direction"].iloc[0] == TX:
            row["handshake_rtt_ms"] = (synack["t_s"].iloc[0] - before.iloc[-1]) * 1e3
    return row


def _endpoint(address: str, port: int) -> str:
    return f"{address}:{port}"


def _assign_connections(subflows: pd.DataFrame, events: pd.DataFrame) -> pd.DataFrame:
    """Number the connections and give each subflow its own; tokens in hexadecimal."""
    keys = events[(events["subtype"] == "MP_CAPABLE") & (events["sender_key"] != "")]
    joins = events[(events["subtype"] == "MP_JOIN") & (events["token"] != "")]
    known: dict[str, int] = {}
    connection, local, remote = [], [], []
    number = 0
    joined = dict(zip(joins["subflow"], joins["token"], strict=True))
    sides = dict(zip(joins["subflow"], joins["direction"], strict=True))
    for subflow, kind in zip(subflows["subflow"], subflows["kind"], strict=True):
        tokens = {"rx": "", "tx": ""}
        if kind == "initial":
            mine = keys[keys["subflow"] == subflow]
            pairs = zip(mine["direction"], mine["sender_key"], strict=True)
            tokens |= {side: f"{token_of(int(key, 16)):08x}" for side, key in pairs}
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


def subflow_of_socket(subflows: pd.DataFrame) -> dict[tuple[str, str], int]:
    """Return {(local endpoint, remote endpoint): subflow}, seen from either side."""
    pairs: dict[tuple[str, str], int] = {}
    columns = (subflows[name] for name in ("local", "remote", "subflow"))
    for local, remote, subflow in zip(*columns, strict=True):
        pairs.setdefault((local, remote), int(subflow))
        pairs.setdefault((remote, local), int(subflow))
    return pairs
