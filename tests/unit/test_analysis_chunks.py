# SPDX-License-Identifier: Apache-2.0
"""However many packets are worked on at once, and wherever columns are kept, a run is the same."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis import columns, report
from analysis.columns import Column
from analysis.load import RunDirectory, load_run
from analysis.packets import Ends, own_packets
from analysis.parse.pcap import read_packets
from analysis.report import write_report
from tests.unit.analysis_recorded import recorded_dir
from tests.unit.analysis_synthetic import LAPTOP, Ride, write_ride
from tests.unit.test_analysis_tshark import ip6_record, pcap_bytes

CASES = ("download", "migrate", "fallback", "fastclose")


def report_of(case: str, directory: Path, chunk_packets: int) -> Path:
    run = directory / "run"  # the same name, which is in every table
    shutil.copytree(recorded_dir(case), run)
    return write_report(run, chunk_packets).directory


@pytest.mark.parametrize("case", CASES)
def test_small_chunks_on_disk_give_what_one_chunk_in_memory_gives(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = report_of(case, tmp_path / "whole", 1 << 20)
    monkeypatch.setattr(columns, "SPILL_BYTES", 64)
    monkeypatch.setattr(report, "GROUP_ROWS", 13)
    parts = report_of(case, tmp_path / "parts", 7)

    assert {file.name for file in parts.iterdir()} == {file.name for file in whole.iterdir()}
    for file in whole.iterdir():
        if file.suffix == ".parquet":
            one, many = pd.read_parquet(file), pd.read_parquet(parts / file.name)
            assert one.attrs == many.attrs, file.name
            pd.testing.assert_frame_equal(many, one, check_exact=True, obj=file.name)
        else:
            assert (parts / file.name).read_bytes() == file.read_bytes(), file.name
    assert [entry.name for entry in parts.parent.iterdir() if entry.name.startswith(".")] == []


def test_small_chunks_of_a_ride(tmp_path: Path) -> None:
    """Chunks of the two captures end at different times, some of them inside a hole."""
    directory = write_ride(tmp_path / "run", Ride())
    whole = RunDirectory(directory, 1 << 20).load()

    for chunk_packets in (50, 1000):
        parts = RunDirectory(directory, chunk_packets).load()
        for name in ("events", "subflows", "data", "delivered", "captures"):
            pd.testing.assert_frame_equal(getattr(parts, name), getattr(whole, name), obj=name)
        for one, many in zip(whole.traffic, parts.traffic, strict=True):
            assert (one.path, one.direction) == (many.path, many.direction)
            assert one.payload_bytes == many.payload_bytes
            np.testing.assert_array_equal(one.t_s, many.t_s)
            np.testing.assert_array_equal(one.ip_bytes, many.ip_bytes)


def test_the_table_of_packets_has_all_of_them(tmp_path: Path) -> None:
    derived = report_of("download", tmp_path, 100)
    packets = pd.read_parquet(derived / "packets.parquet")
    captures = pd.read_parquet(derived / "captures.parquet")

    assert packets.groupby("path", observed=True).size().to_dict() == dict(
        zip(captures["path"], captures["packets"], strict=True)
    )
    totals = packets[packets["direction"] == "rx"].groupby("path", observed=True)["ip_bytes"].sum()
    per_path = pd.read_parquet(derived / "bytes_per_path.parquet").set_index("path")["ip_bytes"]
    assert totals.to_dict() == per_path.to_dict()
    subflows = pd.read_parquet(derived / "subflows.parquet").set_index("subflow")
    first = packets.drop_duplicates("subflow").set_index("subflow")["t_s"].sort_index()
    assert first.tolist() == subflows["t_s"].tolist()


def test_a_column_goes_on_where_its_file_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columns, "SPILL_BYTES", 40)
    column = Column("i4", tmp_path)
    for first in range(0, 95, 5):
        column.append(np.arange(first, first + 5))
    values = column.finish()

    assert values.tolist() == list(range(95))
    values[3] = -1
    assert values[3] == -1
    assert list(tmp_path.iterdir()) == []  # the file has no name
    assert Column("f8").finish().tolist() == []


def test_an_interface_that_changes_its_address(tmp_path: Path) -> None:
    """Its packets belong to the path whatever address it has; each address has its subflows."""
    directory = write_ride(tmp_path / "run", Ride())
    before = load_run(directory)
    file = directory / "raw" / "laptop.wifi.pcap"
    old, new = (bytes(map(int, text.split("."))) for text in (LAPTOP["wifi"], "10.0.7.7"))
    records = file.read_bytes()
    middle = records.index(old, len(records) // 2)
    file.write_bytes(records[:middle] + records[middle:].replace(old, new))
    run = json.loads((directory / "run.json").read_text())
    run["topology"]["paths"][0]["addresses"] = [LAPTOP["wifi"], "10.0.7.7"]
    (directory / "run.json").write_text(json.dumps(run))
    after = load_run(directory)

    assert after.captures["packets"].tolist() == before.captures["packets"].tolist()
    assert after.captures["foreign_packets"].tolist() == [0, 0]
    for one, other in zip(before.traffic, after.traffic, strict=True):
        np.testing.assert_array_equal(one.t_s, other.t_s)
    locals_ = after.subflows.loc[after.subflows["path"] == "wifi", "local"]
    assert [text.split(":")[0] for text in locals_] == [LAPTOP["wifi"], "10.0.7.7"]


def test_ends_of_ip6() -> None:
    chunk = read_packets(pcap_bytes([ip6_record(b""), ip6_record(b"")]))
    sent, received = (own_packets(chunk, [f"2001:db8::{number}"]) for number in (1, 2))

    assert sent.ends == [Ends("2001:db8::1", 5, "2001:db8::2", 6)]
    assert received.ends == [Ends("2001:db8::2", 6, "2001:db8::1", 5)]
    assert sent.is_sent.tolist() == [True, True]
    assert received.is_sent.tolist() == [False, False]
    assert own_packets(chunk, ["2001:db8::3", "10.0.0.1"]).number.size == 0
