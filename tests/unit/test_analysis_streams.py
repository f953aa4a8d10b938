# SPDX-License-Identifier: Apache-2.0
"""Every application byte counts once, at the moment when the application could read it."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import streams
from analysis.survey import SEGMENT_COLUMNS
from tests.unit.analysis_recorded import recorded


def tables(
    rows: list[tuple[int, int, int, int]], isn: object = 999, base: int = 2**64 - 10, **columns: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return packets and subflows of one connection.

    Args:
        rows: (subflow, subflow sequence number from 1, data sequence number from 0, bytes); a
            negative data sequence number stands for a packet without a mapping.
        isn: initial sequence number of every subflow.
        base: data sequence number of the first byte.
    """
    first = 999
    frame = pd.DataFrame({"subflow": np.array([row[0] for row in rows], dtype=np.int32)})
    for name in SEGMENT_COLUMNS:
        frame[name] = frame["subflow"] if name == "subflow" else 0
    frame["t_ns"] = np.arange(len(rows)) * 10**8
    frame["payload_bytes"] = np.array([row[3] for row in rows], dtype=np.uint32)
    frame["seq"] = np.array([(first + row[1]) % 2**32 for row in rows], dtype=np.uint32)
    frame["ssn"] = np.array([row[1] for row in rows], dtype=np.uint32)
    frame["dsn"] = np.array([(base + max(row[2], 0)) % 2**64 for row in rows], dtype=np.uint64)
    frame["mapped"] = np.array([row[2] >= 0 for row in rows], dtype=np.uint8)
    frame["dss_flags"] = np.uint8(0x0D)
    frame = frame.assign(**columns)
    numbers = range(max(frame["subflow"], default=-1) + 1)  # as they are numbered in a run
    subflows = pd.DataFrame({
        "run_id": "r", "host": "h", "path": "wifi", "subflow": numbers, "connection": np.int32(0),
        "isn_rx": pd.array([isn] * len(numbers), dtype="Int64"),
    })  # fmt: skip
    return frame.astype(SEGMENT_COLUMNS), subflows


def follow(packets: pd.DataFrame, subflows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return data and delivered, which must not depend on how many packets are taken at once."""
    segments = {str(name): column.to_numpy() for name, column in packets.items()}
    data, delivered = streams.follow(segments, subflows, chunk_rows=1000)
    for chunk_rows in (1, 2, 3):
        again = streams.follow(segments, subflows, chunk_rows)
        pd.testing.assert_frame_equal(again[0], data)
        pd.testing.assert_frame_equal(again[1], delivered)
    return data, delivered


def received(packets: pd.DataFrame, subflows: pd.DataFrame) -> pd.DataFrame:
    return follow(packets, subflows)[0]


def new_bytes(*args: object, **kwargs: object) -> list[int]:
    return received(*tables(*args, **kwargs))["new_bytes"].tolist()  # type: ignore[arg-type]


def deliveries(rows: list[tuple[int, int, int, int]]) -> list[tuple[float, int]]:
    _, frame = follow(*tables(rows))
    return list(zip(frame["t_s"].tolist(), frame["bytes"].tolist(), strict=True))


def test_bytes_count_once_across_a_wrapped_sequence_space() -> None:
    """The data sequence number passes 2^64 at byte 10."""
    assert new_bytes([(0, 1, 0, 100), (1, 1, 100, 100), (0, 101, 150, 100)]) == [100, 100, 50]


def test_retransmission_and_reinjection_are_told_apart() -> None:
    """Both are data that was there; a retransmission has old subflow sequence numbers too."""
    rows = [(0, 1, 0, 100), (0, 1, 0, 100), (1, 1, 0, 100), (0, 101, 0, 100)]
    data = received(*tables(rows))

    assert data["new_bytes"].tolist() == [100, 0, 0, 0]
    assert data["reinjected_bytes"].tolist() == [0, 0, 100, 100]


def test_bytes_after_a_hole_are_delivered_when_it_is_filled() -> None:
    rows = [(0, 1, 0, 100), (0, 101, 200, 100), (0, 201, 300, 100), (1, 1, 100, 100)]

    assert deliveries(rows) == [(0.0, 100), (pytest.approx(0.3), 300)]


def test_a_hole_that_stays_ends_the_delivery() -> None:
    assert deliveries([(0, 1, 0, 100), (0, 101, 101, 100)]) == [(0.0, 100)]


def test_segments_of_one_mapping() -> None:
    """All carry the mapping of the first, or only the first carries it."""
    rows = [(0, 1, 0, 100), (0, 1, 0, 100), (0, 1, 0, 100)]
    packets, subflows = tables(rows)
    packets["seq"] += np.array([0, 100, 200], dtype=np.uint32)

    for mapped in ([1, 1, 1], [1, 0, 0]):
        packets["mapped"] = np.array(mapped, dtype=np.uint8)
        data = received(packets, subflows)
        assert data["position"].tolist() == [0, 100, 200]
        assert data["new_bytes"].tolist() == [100, 100, 100]


def test_a_subflow_whose_syn_was_not_captured() -> None:
    rows = [(0, 1, 0, 100), (0, 101, 100, 100)]

    assert new_bytes(rows, isn=pd.NA) == [100, 100]


def test_four_octet_data_sequence_numbers() -> None:
    rows = [(0, 1, 0, 100), (0, 101, 100, 100), (0, 101, 100, 100)]

    assert new_bytes(rows, base=2**32 - 50, dss_flags=0x05) == [100, 100, 0]
    packets, subflows = tables(rows, base=2**32 - 50, dss_flags=0x05)
    packets["dsn"] %= 2**32
    assert received(packets, subflows)["position"].tolist() == [0, 100, 100]


def test_plain_tcp_is_placed_by_its_own_sequence_numbers() -> None:
    rows = [(0, 1, -1, 100), (0, 101, -1, 100), (0, 51, -1, 100)]

    assert new_bytes(rows) == [100, 100, 0]


def test_subflow_without_any_mapping_is_left_out() -> None:
    assert new_bytes([(0, 1, 0, 100), (1, 1, -1, 100)]) == [100]


def test_nothing_received() -> None:
    data, delivered = follow(*tables([]))

    assert data.empty
    assert delivered.empty


@pytest.mark.parametrize(("case", "size"), [
    ("download", 900_000), ("migrate", 500_000), ("fallback", 200_000), ("fastclose", 400_000),
])  # fmt: skip
def test_recorded_downloads_are_complete(case: str, size: int) -> None:
    """With 100 and more drops at the bottleneck, and in migrate a subflow that went away."""
    frames = recorded(case)

    assert frames.data["new_bytes"].sum() == frames.delivered["bytes"].sum() == size


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 40), st.integers(1, 12)), max_size=30))
def test_against_a_model_that_looks_at_every_byte(rows: list[tuple[int, int, int]]) -> None:
    """Each row is (subflow, data sequence number, bytes); subflow numbers follow the data."""
    packets = [(subflow, dsn + 1, dsn, size) for subflow, dsn, size in rows]
    data, delivered = follow(*tables(packets))

    seen, new = set[int](), []
    for _, dsn, size in rows:
        mine = set(range(dsn, dsn + size))
        new.append(len(mine - seen))
        seen |= mine
    assert data["new_bytes"].tolist() == new
    first = min(seen, default=0)
    length = next(n for n in range(len(seen) + 1) if first + n not in seen)
    assert delivered["bytes"].sum() == length
