# SPDX-License-Identifier: Apache-2.0
"""Make the tables of socket samples: units that people read, and the path of each subflow."""

import ipaddress
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.parse.ss import MPTCP_FLAG_FALLBACK, TCP_INFO
from analysis.tables import Origin, with_keys

# include/net/tcp_states.h
STATES = (
    "", "ESTAB", "SYN-SENT", "SYN-RECV", "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT", "CLOSE",
    "CLOSE-WAIT", "LAST-ACK", "LISTEN", "CLOSING", "NEW-SYN-RECV",
)  # fmt: skip
SUBFLOW_FLAG_BACKUP = 0x30  # MPTCP_SUBFLOW_FLAG_BKUP_REM | MPTCP_SUBFLOW_FLAG_BKUP_LOC
SSTHRESH_INFINITE = 0x7FFFFFFF
# Column -> (field of tcp_info, factor).
TCP_COLUMNS = {
    "rtt_ms": ("rtt_us", 1e-3),
    "rttvar_ms": ("rttvar_us", 1e-3),
    "min_rtt_ms": ("min_rtt_us", 1e-3),
    "rto_ms": ("rto_us", 1e-3),
    "cwnd_packets": ("snd_cwnd", 1),
    "ssthresh_packets": ("snd_ssthresh", 1),
    "unacked_packets": ("unacked", 1),
    "mss_bytes": ("snd_mss", 1),
    "pacing_mbps": ("pacing_rate", 8e-6),
    "delivery_mbps": ("delivery_rate", 8e-6),
    "retransmitted_packets": ("total_retrans", 1),
    "retransmitted_bytes": ("bytes_retrans", 1),
    "sent_bytes": ("bytes_sent", 1),
    "acked_bytes": ("bytes_acked", 1),
    "received_bytes": ("bytes_received", 1),
    "notsent_bytes": ("notsent_bytes", 1),
    "send_window_bytes": ("snd_wnd", 1),
    "receive_window_bytes": ("rcv_wnd", 1),
    "rtos": ("total_rto", 1),
    "backoff": ("backoff", 1),
}
MPTCP_COLUMNS = (
    "subflows", "subflows_total", "retransmits", "bytes_retrans", "bytes_sent", "bytes_received",
    "bytes_acked", "write_seq", "snd_una", "rcv_nxt",
)  # fmt: skip


def socket_rows(
    samples: npt.NDArray[np.void], origin: Origin, known: dict[tuple[str, str], tuple[int, str]]
) -> pd.DataFrame:
    """Return the samples of TCP sockets that are connections.

    Args:
        samples: Sockets.tcp.
        origin: host and time of the samples.
        known: {(local, remote endpoint): (subflow, path)}.
    """
    samples = samples[np.isin(samples["diag"]["state"], (1, 2, 3, 4, 5, 7, 8, 9, 11))]
    info = samples["info"]
    columns: dict[str, Any] = _identity(samples)
    for column, (field, factor) in TCP_COLUMNS.items():
        offset = TCP_INFO.fields[field][1] if TCP_INFO.fields else 0
        values = info[field].astype(np.float64) * factor
        # A kernel that does not know the field sends a shorter structure.
        columns[column] = np.where(samples["info_bytes"] > offset, values, np.nan)
    columns["ssthresh_packets"][info["snd_ssthresh"] == SSTHRESH_INFINITE] = np.nan
    columns["min_rtt_ms"][info["min_rtt_us"] == 2**32 - 1] = np.nan  # no sample yet
    names = [name.decode(errors="replace") for name in samples["congestion_control"].tolist()]
    columns["congestion_control"] = pd.Series(names, dtype="str")
    columns["is_subflow"] = samples["is_subflow"] > 0
    columns["is_backup"] = samples["subflow_flags"] & SUBFLOW_FLAG_BACKUP > 0
    tokens = [f"{token:08x}" for token in samples["token_local"].tolist()]
    columns["token_local"] = pd.Series(tokens, dtype="str")
    frame = pd.DataFrame(columns)
    keyed = with_keys(frame, origin, samples["t_ns"] - origin.start_ns)
    return _with_subflow(keyed, known)


def connection_rows(samples: npt.NDArray[np.void], origin: Origin) -> pd.DataFrame:
    """Return the samples of MPTCP sockets; the columns of bytes are application bytes."""
    samples = samples[np.isin(samples["diag"]["state"], (1, 2, 3, 4, 5, 7, 8, 9, 11))]
    info, diag = samples["info"], samples["diag"]
    columns: dict[str, Any] = _identity(samples)
    columns |= {column: info[column] for column in MPTCP_COLUMNS}
    tokens = [f"{token:08x}" for token in info["token"].tolist()]
    columns["token"] = pd.Series(tokens, dtype="str")
    columns["is_fallback"] = info["flags"] & MPTCP_FLAG_FALLBACK > 0
    columns["rqueue_bytes"] = diag["rqueue"].astype(np.int64)  # memory, out of order data too
    columns["wqueue_bytes"] = diag["wqueue"].astype(np.int64)
    columns["rcvbuf_bytes"] = samples["rcvbuf_bytes"].astype(np.int64)
    columns["sndbuf_bytes"] = samples["sndbuf_bytes"].astype(np.int64)
    frame = pd.DataFrame(columns)
    return with_keys(frame, origin, samples["t_ns"] - origin.start_ns)


def _identity(samples: npt.NDArray[np.void]) -> dict[str, Any]:
    diag = samples["diag"]
    states = [STATES[n] if n < len(STATES) else str(n) for n in diag["state"].tolist()]
    return {
        "state": pd.Series(states, dtype="str"),
        "local": pd.Series(_endpoints(diag, "src", "sport"), dtype="str"),
        "remote": pd.Series(_endpoints(diag, "dst", "dport"), dtype="str"),
    }


def _endpoints(diag: npt.NDArray[np.void], address: str, port: str) -> list[str]:
    """Return address:port; IPv4 addresses mapped into IPv6 (RFC 4291 2.5.5.2) as IPv4."""
    texts: dict[tuple[Any, ...], str] = {}
    columns = (diag["family"].tolist(), diag[address].tolist(), diag[port].tolist())
    keys = [(family, *words, number) for family, words, number in zip(*columns, strict=True)]
    for key in set(keys):
        family, *words, number = key
        if family == 2 or words[:3] == [0, 0, 0xFFFF]:
            text = str(ipaddress.IPv4Address(words[0] if family == 2 else words[3]))
        else:
            whole = sum(word << (96 - 32 * place) for place, word in enumerate(words))
            text = str(ipaddress.IPv6Address(whole))
        texts[key] = f"{text}:{number}"
    return [texts[key] for key in keys]


def _with_subflow(
    frame: pd.DataFrame, known: dict[tuple[str, str], tuple[int, str]]
) -> pd.DataFrame:
    pairs = list(zip(frame["local"], frame["remote"], strict=True))
    found = [known.get(pair, (-1, "")) for pair in pairs]
    frame["subflow"] = np.array([subflow for subflow, _ in found], dtype=np.int32)
    frame["path"] = pd.Categorical([path for _, path in found])
    return frame
