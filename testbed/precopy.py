# SPDX-License-Identifier: Apache-2.0
"""Pre-copy migration: how many rounds, and when to stop the machine for the rest.

A round sends the pages that were written to since the one before, the first one all of them. Who
writes at a constant rate d while a round of length T goes on leaves d T bytes for the next one
(Clark et al., NSDI 2005, section 3).

- QEMU stops the machine when what is left takes no longer than `downtime_limit`, at the rate that
  the last round had (migration/migration.c: threshold_size).
- Xen stops it when fewer than 50 pages are left, after 30 rounds, or when three times the memory
  has been sent (tools/libs/guest/xg_sr_save.c and, for the factor, xc_domain_save.c before it).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

PAGE_BYTES = 4096
QEMU, XEN = "qemu", "xen"
XEN_PAGES, XEN_ROUNDS, XEN_FACTOR = 50, 30, 3
GO_ON, STOP, LIMIT = "go on", "stop", "limit"

# What slow start, or a lost packet, has cost is made up for at this multiple of the bandwidth, not
# in a burst: bursts overflowed the queue of a link with an RTT of 100 ms.
CATCH_UP = 1.125
# Linux's initial congestion window (TCP_INIT_CWND) of segments with time stamps.
INITIAL_WINDOW_BYTES = 10 * 1448

# A prediction that has not ended after so many rounds never will.
MANY_ROUNDS = 10_000


@dataclass(frozen=True)
class Precopy:
    """A migration that is to be carried out.

    Attributes:
        memory_bytes: of the machine.
        dirty_bytes_per_s: how fast it writes to pages that were clean.
        bandwidth_bytes_per_s: what the migration may send at most.
        algorithm: QEMU or XEN.
        downtime_limit_s: how long QEMU may stop the machine.
        max_rounds: after which it does not go on; None: no limit but the algorithm's own.
    """

    memory_bytes: int
    dirty_bytes_per_s: float
    bandwidth_bytes_per_s: float
    algorithm: str = QEMU
    downtime_limit_s: float = 0.3
    max_rounds: int | None = None

    def left_bytes(self, round_s: float) -> int:
        """Return what a round of that length leaves: whole pages, all of them at most."""
        pages = -(-round(self.dirty_bytes_per_s * round_s) // PAGE_BYTES)
        return min(pages * PAGE_BYTES, self.memory_bytes)

    def decide(self, rounds: Sequence[tuple[int, float]], left_bytes: int) -> str:
        """Return GO_ON, STOP when little enough is left, or LIMIT when enough was tried.

        Args:
            rounds: bytes and length in s of those that were sent.
            left_bytes: what the last one left.
        """
        size, round_s = rounds[-1]
        if self.algorithm == XEN:
            if left_bytes < XEN_PAGES * PAGE_BYTES:
                return STOP
            sent = sum(size for size, _ in rounds)
            has_enough = sent + left_bytes > XEN_FACTOR * self.memory_bytes
            is_last = len(rounds) >= min(self.max_rounds or XEN_ROUNDS, XEN_ROUNDS)
            return LIMIT if has_enough or is_last else GO_ON
        if left_bytes <= size / round_s * self.downtime_limit_s:
            return STOP
        return LIMIT if self.max_rounds and len(rounds) >= self.max_rounds else GO_ON

    def predict(self, rtt_s: float = 0.0) -> "Prediction":
        """Return what becomes of it where the bandwidth is the migration's own.

        Args:
            rtt_s: after which the hosts are connected, and a round is known to have arrived.
        """
        rounds: list[tuple[int, float]] = []
        left = self.memory_bytes
        while True:
            sending_s = left / self.bandwidth_bytes_per_s
            if not rounds:
                sending_s = max(sending_s, self._from_slow_start_s(left, rtt_s))
            round_s = sending_s + rtt_s
            rounds.append((left, round_s))
            left = self.left_bytes(round_s)
            end = self.decide(rounds, left)
            if end != GO_ON or len(rounds) >= MANY_ROUNDS:
                stop_s = left / self.bandwidth_bytes_per_s + rtt_s
                return Prediction(tuple(rounds), end, stop_s, opening_s=rtt_s)

    def _from_slow_start_s(self, size: int, rtt_s: float) -> float:
        """Return how long a first round takes to send: the window doubles until it is filled.

        (Cardwell, Savage and Anderson, INFOCOM 2000, without loss and with an ACK per segment.)
        """
        wanted = self.bandwidth_bytes_per_s * rtt_s / INITIAL_WINDOW_BYTES
        doublings = math.ceil(math.log2(wanted)) if wanted > 1 else 0
        fewer = math.log2(size / INITIAL_WINDOW_BYTES + 1)
        if fewer <= doublings:
            return float(fewer * rtt_s)
        rest = size - INITIAL_WINDOW_BYTES * (2**doublings - 1)
        return float(doublings * rtt_s + rest / (CATCH_UP * self.bandwidth_bytes_per_s))


@dataclass(frozen=True)
class Prediction:
    """What the model says.

    Attributes:
        rounds: bytes and length in s of each.
        end: STOP, LIMIT, or GO_ON if it has no end.
        stop_and_copy_s: how long the rest takes.
        opening_s: until the hosts are connected.
    """

    rounds: tuple[tuple[int, float], ...]
    end: str
    stop_and_copy_s: float
    opening_s: float = 0.0

    @property
    def total_s(self) -> float:
        """The whole migration, from its beginning to the machine's resumption."""
        rounds_s = sum(round_s for _, round_s in self.rounds)
        return self.opening_s + rounds_s + self.stop_and_copy_s


def precopy_of(plan: dict[str, Any]) -> Precopy:
    """Return the migration of "workload" of run.json."""
    return Precopy(**plan["precopy"])
