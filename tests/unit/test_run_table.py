# SPDX-License-Identifier: Apache-2.0
"""The table that a command ends with shows what its experiment is about."""

import pytest

from analysis.headlines import KINDS, NOTHING, ORDINARY, Headline, kind_of, text_of
from testbed.cli.run_table import print_runs, table_of


def run(mode="mptcp-full", **found):
    common = {"goodput_mbps": 3.14159, "download_s": None, "handover_gap_max_s": 0.5}
    about = {"varied": {"mode": mode}, "seed": 1, "verdict": "valid", "verdict_reasons": []}
    return {**common, **about, "notes": [], "bytes_per_path": {"wifi": 1_000_000, "3g": 0}, **found}


def heads_of(*runs, **options):
    heads, _ = table_of(runs, **options)
    return [head.replace("\n", " ") for head in heads]


def test_a_download_has_goodput_gap_and_a_column_per_path():
    heads, rows = table_of([run(download_s=12.345), run("tcp-3g", bytes_per_path={"3g": 2e6})])

    assert [head.replace("\n", " ") for head in heads] == [
        "run", "verdict", "goodput Mbit/s", "download s", "longest gap s", "over wifi MB",
        "over 3g MB",
    ]  # fmt: skip
    assert rows[0] == ["mptcp-full, seed 1", "valid", "3.14", "12.35", "0.50", "1.0", "0.0"]
    assert rows[1][3:] == [NOTHING, "0.50", NOTHING, "2.0"]


def test_a_column_without_a_number_is_left_out():
    assert "download s" not in heads_of(run())
    bare = run(goodput_mbps=None, handover_gap_max_s=None, bytes_per_path=None)
    assert heads_of(bare) == ["run", "verdict"]


@pytest.mark.parametrize(
    ("found", "head", "text"),
    [
        ({"behaviour": "nat", "outcome": "survives"}, "outcome", "survives"),
        ({"behaviour": "payload", "sha256_ok": False}, "as sent", "no"),
        ({"stop_and_copy_s": 0.157}, "stood still s", "0.16"),
        ({"fraction_via_middlebox_after": 0.9999}, "then by middlebox %", "100.0"),
        ({"mptcp_share": 0.5117}, "MPTCP's share %", "51.2"),
        ({"goodput_nic": 1.74}, "goodput NIC", "1.74"),
        ({"oracle_mbps": 7.79}, "oracle Mbit/s", "7.79"),
    ],
)
def test_each_kind_of_experiment_shows_what_it_measures(found, head, text):
    heads = heads_of(run(**found))
    assert head in heads
    _, [row] = table_of([run(**found)])
    assert row[heads.index(head)] == text


def test_a_run_that_failed_does_not_hide_the_kind_of_the_others():
    failed = run(goodput_mbps=None, handover_gap_max_s=None, bytes_per_path=None)
    assert "MPTCP's share %" in heads_of(failed, run(mptcp_share=0.5))


def test_every_kind_is_told_by_a_number_of_its_own():
    markers = [kind.marker for kind in KINDS]
    assert len({*markers}) == len(markers)
    assert kind_of({"goodput_mbps", "download_s"}) is ORDINARY


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, NOTHING), (float("nan"), NOTHING), (True, "yes"), ("lost", "lost"), (0.25, "25")],
)
def test_values_as_text(value, text):
    assert text_of(Headline("any", "any", "%", 0, 100.0), value) == text


def test_bytes_per_path_go_first_where_a_line_is_short(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "48")
    print_runs([run(), run("mptcp-backup")])
    out = capsys.readouterr().out

    assert "over" not in out and "mptcp-backup, seed 1  valid" in out
    assert all(len(line.rstrip()) <= 48 for line in out.splitlines())


def test_what_many_runs_have_in_common_is_said_once(capsys):
    print_runs([run(mode, verdict_reasons=["no such thing"]) for mode in ("a", "b", "c")])

    assert capsys.readouterr().out.count("no such thing") == 1
    print_runs([run("a", notes=["once"])])
    assert "a, seed 1: once" in capsys.readouterr().out
