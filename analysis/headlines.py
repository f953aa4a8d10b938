# SPDX-License-Identifier: Apache-2.0
"""Say which numbers answer the question of an experiment: those that its tables show."""

from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

NOTHING = "-"


class Headline(NamedTuple):
    """A column of the tables of runs and of cells.

    Attributes:
        key: of the number in a run's summary.
        head, unit: what it is called there.
        digits: how many are shown.
        factor: from the summary's unit to this one.
    """

    key: str
    head: str
    unit: str
    digits: int = 2
    factor: float = 1.0


class Kind(NamedTuple):
    """What is shown of a kind of experiment, and whether bytes per path belong to it."""

    marker: str  # a key that only summaries of this kind have
    headlines: tuple[Headline, ...]
    has_paths: bool = True


GOODPUT = Headline("goodput_mbps", "goodput", "Mbit/s")
GAP = Headline("handover_gap_max_s", "longest gap", "s")
RTTS = (
    Headline("rtt_before_ms", "RTT before", "ms", 0),
    Headline("rtt_after_ms", "RTT after", "ms", 0),
)
ORDINARY = Kind("", (GOODPUT, Headline("download_s", "download", "s"), GAP))
KINDS = (
    Kind("behaviour", (
        Headline("outcome", "outcome", ""), Headline("outcome_s", "after", "ms", 1, 1e3),
        Headline("sha256_ok", "as sent", ""),
    ), has_paths=False),
    Kind("stop_and_copy_s", (
        GOODPUT, Headline("gap_s", "gap", "s"), Headline("upload_gap_s", "upload gap", "s"),
        Headline("stop_and_copy_s", "stood still", "s"), *RTTS,
    ), has_paths=False),
    Kind("fraction_via_middlebox_after", (
        GOODPUT, Headline("gap_s", "gap", "s"), *RTTS,
        Headline("fraction_via_middlebox_after", "then by middlebox", "%", 1, 100.0),
    ), has_paths=False),
    Kind("mptcp_share", (
        Headline("mptcp_mbps", "MPTCP", "Mbit/s"), Headline("tcp_mbps", "TCP", "Mbit/s"),
        Headline("mptcp_share", "MPTCP's share", "%", 1, 100.0),
        Headline("of_best_path", "of the best path", "%", 1, 100.0),
        Headline("congested_path_mbps", "congested path", "Mbit/s"),
    ), has_paths=False),
    Kind("goodput_nic", (
        Headline("goodput_nic", "goodput", "NIC"), Headline("optimum_nic", "optimum", "NIC"),
        Headline("oracle_nic", "ideal core", "NIC"),
        Headline("lender_goodput_nic", "lenders", "NIC"),
    ), has_paths=False),
    Kind("oracle_mbps", (GOODPUT, Headline("oracle_mbps", "oracle", "Mbit/s"), GAP)),
)  # fmt: skip


def kind_of(known: Collection[str]) -> Kind:
    """Return the kind of an experiment by the keys that its runs' summaries have."""
    return next((kind for kind in KINDS if kind.marker in known), ORDINARY)


def shown(kind: Kind, runs: Iterable[dict[str, Any]]) -> list[Headline]:
    """Return the headlines that at least one of the runs has something for."""
    rows = list(runs)
    return [one for one in kind.headlines if any(row.get(one.key) is not None for row in rows)]


def text_of(headline: Headline, value: Any) -> str:
    """Return a number, a word or a yes or no as it stands in a table."""
    if value is None or value != value:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    return f"{value * headline.factor:.{headline.digits}f}"
