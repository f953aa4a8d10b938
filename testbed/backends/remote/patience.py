# SPDX-License-Identifier: Apache-2.0
"""How long we wait for a machine behind SSH."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Patience:
    """Times in seconds; every wait for the machine has one of them.

    Attributes:
        connect_s: for the connection, and for each of its steps up to the login.
        answer_s: for the answer to a request, and for the next sign of life of a run.
        silence_s: how long the machine may not be reached before a run is given up.
        first_pause_s, longest_pause_s: before another attempt to connect; each pause is twice the
            one before.
        clearing_s: for the clean-up after a run.
        beyond_s: that a run may take longer than its experiment's duration.
    """

    connect_s: float = 20.0
    answer_s: float = 30.0
    silence_s: float = 120.0
    first_pause_s: float = 0.5
    longest_pause_s: float = 15.0
    clearing_s: float = 20.0
    beyond_s: float = 300.0
