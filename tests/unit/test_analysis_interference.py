# SPDX-License-Identifier: Apache-2.0
"""What became of a connection, by its counters, its ends and the captures around a middlebox."""

import hashlib
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from analysis import interference
from analysis.answer import answer
from analysis.cells import cells_of
from analysis.interference_figures import interference_figure, table_rows
from analysis.interference_run import run_figure
from analysis.interference_words import BEHAVIOURS, explain
from analysis.page import cells_shown
from analysis.parse.nfqueue import parse_queue
from analysis.parse.segments import Seen, parse_segments
from analysis.runs import INTERFERENCE_FACTS
from analysis.sweep import Facts, Sweep
from testbed import content, packet
from testbed.errors import RunInvalid
from testbed.packet import ACK, DSS, RST
from tests.unit.analysis_synthetic import pcap_bytes
from tests.unit.interference_synthetic import download
from tests.unit.packet_synthetic import PORT, segment

SIZE = 4000
RIGHT = hashlib.sha256(b"".join(content.blocks(3, SIZE))).hexdigest()


def frames(sent=None, *, told=(), evidence=None, sha=RIGHT, ends=("complete", "complete"),
           behaviour="strip-dss-only", change=None):  # fmt: skip
    """Return a run whose segments take 1 ms to pass the middlebox, which may change them."""
    sent = download(4) if sent is None else sent
    near = [Seen(10_000_000 * n, one) for n, one in enumerate(sent)]
    far = [Seen(s.t_ns + 1_000_000, change(s.segment) if change else s.segment) for s in near]
    client = [n if n.segment.target_port == PORT else f for n, f in zip(near, far, strict=True)]
    server = [n if n.segment.source_port == PORT else f for n, f in zip(near, far, strict=True)]
    workload = {
        "name": "interference",
        "behaviour": behaviour,
        "evidence": evidence or {"kind": "stripped", "subtype": DSS},
        "file_bytes": SIZE,
        "server": {"port": PORT, "seed": 3},
    }
    flow = {"sender": ends[0], "receiver": ends[1], "received_bytes": SIZE, "received_sha256": sha}
    rows = [{"host": h, "counter": f"MPTcpExt{c}", "delta": n} for h, c, n in told]
    return SimpleNamespace(
        run={"workload": workload},
        manifest={"workload": {"flows": [flow]}},
        counters=pd.DataFrame(rows, columns=["host", "counter", "delta"]),
        reads=pd.DataFrame({"t_s": [0.05, 0.2]}),
        passage={"client": client, "server": server},
    )


def strip(one):
    return packet.without_mptcp(one, DSS)


FALLBACK = [("client", "DssFallback", 1)]


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        ({}, "survives"),
        ({"told": FALLBACK}, "falls back to TCP"),
        ({"told": [("server", "InfiniteMapTx", 1)]}, "falls back to TCP"),
        ({"told": [("client", "FallbackFailed", 1)]}, "survives"),
        ({"told": FALLBACK, "ends": ("cut off", "cut off")}, "connection lost"),
        ({"ends": ("complete", "connection reset by peer")}, "connection lost"),
        ({"sent": [*download(4), segment(is_down=False, flags=RST | ACK)]}, "subflow reset"),
    ],
)
def test_outcome(said, outcome):
    assert interference.outcome(frames(**said)) == outcome


def test_a_reset_after_the_last_byte_is_none():
    late = [*download(4), *[segment()] * 20, segment(is_down=False, flags=RST | ACK)]
    assert interference.outcome(frames(late)) == "survives"


def test_how_long_a_fallback_took():
    """The client's first segment without MPTCP is 9 ms after the first stripped one came out."""
    sent = [strip(one) if n > 2 and one.target_port == PORT else one
            for n, one in enumerate(download(4))]  # fmt: skip
    made = interference.summary(frames(sent, told=FALLBACK, change=strip))
    assert (made["outcome"], made["outcome_s"]) == ("falls back to TCP", pytest.approx(0.009))


def test_how_long_a_reset_took():
    sent = [*download(4), segment(is_down=False, flags=RST | ACK)]
    made = interference.summary(frames(sent, change=strip))
    assert (made["outcome"], made["outcome_s"]) == ("subflow reset", pytest.approx(0.079))


def test_a_side_that_counted_a_fallback_but_shows_none_has_no_time():
    assert interference.summary(frames(told=FALLBACK, change=strip))["outcome_s"] is None


def test_the_cell_of_the_table():
    told = [("client", "DataCsumErr", 1), ("client", "OFOQueue", 9), ("server", "MPJoinAckRx", 1)]
    made = interference.summary(frames(told=told, change=strip, sha="x"))
    assert made["counters"] == {"client": {"DataCsumErr": 1}, "server": {"MPJoinAckRx": 1}}
    assert made["proof"] == ["client DataCsumErr 1"]
    assert (made["subflows"], made["sha256_ok"], made["received_bytes"]) == (2, False, SIZE)
    assert made["evidence"] == "8 segments came out without the option, 0 with it since then"
    assert made["explanation"] is None  # nobody said why it should survive
    assert interference.summary(SimpleNamespace(run={"workload": {"name": "bulk"}})) == {}


def test_what_is_sent_again_as_new_data_is_counted():
    sent = download(4)
    data = sent[2]
    again = [data, replace(data, seq=data.seq + 9000), replace(data, target_port=9)]
    assert interference.repeated_bytes(frames(sent)) == 0
    assert interference.repeated_bytes(frames(sent + again)) == len(data.payload)


def reasons(**said):
    return [reason.message for reason in interference.check_interference(frames(**said))]


def test_a_middlebox_that_does_nothing_makes_no_data_point():
    assert reasons(change=strip) == []
    assert reasons() == [
        "the middlebox did not behave as planned: 0 segments came out without the option, "
        "0 with it since then"
    ]


def test_a_control_that_does_not_survive_makes_no_data_point():
    control = {"behaviour": "control", "evidence": {"kind": "same"}}
    assert reasons(**control) == []
    assert reasons(**control, told=FALLBACK) == [
        "without interference the outcome is: falls back to TCP"
    ]
    assert reasons(**control, sha="x") == ["without interference the outcome is: survives"]


def test_checks_that_look_for_the_answer_are_left_out():
    assert interference.is_answer(frames(), "fallback")
    assert not interference.is_answer(frames(), "captures")
    assert not interference.is_answer(SimpleNamespace(run={}), "fallback")


def test_segments_of_a_capture():
    made = [packet.build(replace(one, window=7)) for one in download(2)]
    frame = b"\0" * 12 + b"\x08\x00"
    wanted = [capture_record(frame + one) for one in made]
    arp = capture_record(b"\0" * 12 + b"\x08\x06" + bytes(28))
    data = np.frombuffer(pcap_bytes([arp, *wanted]), dtype=np.uint8)
    found = parse_segments(data, lambda one: one.source_port == PORT)
    assert [seen.segment for seen in found] == [
        replace(one, window=7) for one in download(2) if one.source_port == PORT
    ]
    assert {seen.t_ns for seen in found} == {1_000_000_005}
    short = capture_record(frame + made[2][:100])
    with pytest.raises(RunInvalid, match="cut off; record more"):
        parse_segments(np.frombuffer(pcap_bytes([short]), dtype=np.uint8))


def capture_record(data):
    return b"".join(n.to_bytes(4, "little") for n in (1, 5, len(data), len(data))) + data


def test_a_queue_that_lost_packets_is_said():
    line = b"    0   117     0 2 65531     0     0     1187  1\n"
    assert parse_queue(line) == 1187
    with pytest.raises(RunInvalid, match="3 of 1187 packets never reached the middlebox"):
        parse_queue(line.replace(b" 0     0     1187", b" 1     2     1187"))
    with pytest.raises(RunInvalid, match="nothing of a queue"):
        parse_queue(b"")


def sweep_of(summaries):
    rows = [
        {"run_dir": name, "mode": told["behaviour"], "seed": 1, "repetition": 1, "status":
         "complete", "verdict": "valid", "verdict_reasons": [], "wall_s": 2.0, "virtual_s": 1.0,
         **{key: told[key] for key in INTERFERENCE_FACTS}}
        for name, told in summaries.items()
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    return Sweep(table, cells_of(table, ["mode"]), Facts())


def test_the_table_says_what_was_found():
    lost = interference.summary(
        frames(told=FALLBACK, ends=("cut off", "cut off"), change=strip, sha="x")
    )
    other = {**interference.summary(frames(behaviour="nat")), "behaviour": "nat"}
    summaries = {"one": lost, "two": other}
    rows = table_rows(sweep_of(summaries), summaries)
    assert [row[0] for row in rows] == [BEHAVIOURS[n].does for n in ("nat", "strip-dss-only")]
    assert rows[0][1:6] == ["survives", "", "-", "not reported", "no effect"]
    assert rows[1][1:3] == ["connection lost", "client DssFallback 1"]
    assert rows[1][6].startswith(explain("strip-dss-only", "connection lost"))
    assert rows[1][6].endswith("The content is not what was sent.")
    figure = interference_figure(sweep_of(summaries), summaries)
    texts = {text.get_text() for text in figure.axes[0].texts}
    assert {"outcome", "survives", "connection lost"} <= texts


def test_the_page_says_which_behaviours_led_to_which_outcome():
    lost = interference.summary(
        frames(told=FALLBACK, ends=("cut off", "cut off"), change=strip, sha="x")
    )
    other = {**interference.summary(frames(behaviour="nat")), "behaviour": "nat"}
    sweep = sweep_of({"one": lost, "two": other})
    assert answer(sweep) == [
        "Valid runs: 2 of 2.",
        "Survives: 1 run (nat).",
        "Connection lost: 1 run (strip-dss-only).",
    ]
    table = cells_shown(sweep)
    assert [column.name for column in table.columns][2:5] == [
        "Outcome", "Decided after", "Transfer took"
    ]  # fmt: skip
    assert table.rows == [
        ["nat", "1 of 1", "survives", "\u2013", "0.20", "4,000", "as sent", "0.5"],
        ["strip-dss-only", "1 of 1", "connection lost", "\u2013", "\u2013", "4,000",
         "not as sent", "0.5"],
    ]  # fmt: skip


def test_the_figure_of_a_run_shows_when_what_happened():
    sent = [*download(4), segment(is_down=False, flags=RST | ACK)]
    made = frames(sent, change=strip)
    made.run["seed"] = 5
    made.reads["bytes"] = [1000, 3000]
    figure = run_figure(made, warning="invalid: so")
    (axes,) = figure.axes
    marks = [line.get_xdata()[0] for line in axes.lines[2:]]
    assert marks == pytest.approx([0.021, 0.1])
    assert list(axes.lines[0].get_ydata()) == pytest.approx([0.0, 0.001, 0.004])
    texts = [text.get_text() for text in figure.texts]
    assert texts[0] == "The middlebox strips DSS in mid-connection, one path: subflow reset"
    assert "invalid: so" in texts


def test_an_unknown_outcome_has_no_explanation():
    told = {**interference.summary(frames()), "explanation": None}
    (row,) = table_rows(sweep_of({"one": told}), {"one": told})
    assert row[6] == "no explanation is known of this outcome."
