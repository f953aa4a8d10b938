# SPDX-License-Identifier: Apache-2.0
"""How busy the machine was: what /proc says, as collectors/machine.py wrote it down."""

import json
from dataclasses import dataclass

# proc(5): user, nice, system, idle, iowait, irq, softirq, steal; guest time is part of user.
STEAL, STAT_FIELDS = 7, 8


@dataclass(frozen=True)
class MachineSample:
    """The machine at one moment; all but the time count from its boot.

    Attributes:
        t_s: since the run's start.
        steal_ticks: of the processors that went to other machines on the same host.
        ticks: of the processors, in all.
        stalled_us: in which something had to wait for a processor; None: the kernel does not say.
        packets: that were handled after they had arrived.
        dropped: because too many waited to be handled.
        squeezed: times that the handling was put off because it had taken too long.
    """

    t_s: float
    steal_ticks: int
    ticks: int
    stalled_us: int | None
    packets: int
    dropped: int
    squeezed: int


def parse_machine(raw: bytes) -> list[MachineSample]:
    """Return the samples.

    Raises:
        ValueError: a line is malformed.
    """
    try:
        return [_sample(json.loads(line)) for line in raw.splitlines() if line.strip()]
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(f"a sample of the machine is malformed: {error!r}") from error


def _sample(line: dict[str, str | int]) -> MachineSample:
    ticks = [int(word) for word in str(line["stat"]).split()[1 : STAT_FIELDS + 1]]
    rows = [[int(word, 16) for word in row.split()] for row in str(line["softnet"]).splitlines()]
    return MachineSample(
        t_s=int(line["t_ns"]) / 1e9,
        steal_ticks=ticks[STEAL],
        ticks=sum(ticks),
        stalled_us=_stalled_us(str(line["pressure"])),
        packets=sum(row[0] for row in rows),
        dropped=sum(row[1] for row in rows),
        squeezed=sum(row[2] for row in rows),
    )


def _stalled_us(text: str) -> int | None:
    """Return the total of the line "some avg10=0.00 avg60=0.00 avg300=0.00 total=0"."""
    for line in text.splitlines():
        if line.startswith("some "):
            return int(line.rpartition("total=")[2])
    return None
