# SPDX-License-Identifier: Apache-2.0
"""A byte that was given up with a connection and asked for again counts once."""

import pandas as pd
import pytest

from analysis.attempts import limit_to_attempts


def delivered(*rows):
    """Return deliveries from (t_s, connection, bytes)."""
    return pd.DataFrame(
        {
            "t_ns": [round(t_s * 1e9) for t_s, _, _ in rows],
            "t_s": [t_s for t_s, _, _ in rows],
            "connection": [connection for _, connection, _ in rows],
            "bytes": [size for _, _, size in rows],
        }
    )


SUBFLOWS = pd.DataFrame({"connection": [0, 1], "syn_s": [0.01, 5.02]})
ATTEMPTS = [{"first_byte": 0, "started_s": 0.0}, {"first_byte": 250, "started_s": 5.0}]


def test_an_attempt_counts_for_what_the_next_one_did_not_ask_for():
    table = delivered((1, 0, 100), (2, 0, 100), (3, 0, 100), (6, 1, 500), (7, 1, 300))
    found = limit_to_attempts(table, SUBFLOWS, {"attempts": ATTEMPTS, "size_bytes": 1000})

    assert found["bytes"].tolist() == [100, 100, 50, 500, 250]
    assert found["bytes"].sum() == 1000


def test_deliveries_that_add_nothing_are_gone():
    table = delivered((1, 0, 300), (2, 0, 100), (6, 1, 750))
    found = limit_to_attempts(table, SUBFLOWS, {"attempts": ATTEMPTS, "size_bytes": 1000})

    assert found["t_s"].tolist() == [1, 6]


def test_an_attempt_without_a_connection_has_no_rows():
    """Its SYN was lost; the next connection belongs to the next attempt."""
    attempts = [ATTEMPTS[0], {"first_byte": 0, "started_s": 4.0}, {"first_byte": 0, "started_s": 5}]
    table = delivered((6, 1, 700))
    found = limit_to_attempts(table, SUBFLOWS, {"attempts": attempts, "size_bytes": 600})

    assert found["bytes"].tolist() == [600]


@pytest.mark.parametrize("attempts", [[], ATTEMPTS[:1], None])
def test_a_single_attempt_is_left_as_it_is(attempts):
    table = delivered((1, 0, 300))

    assert limit_to_attempts(table, SUBFLOWS, {"attempts": attempts}) is table
