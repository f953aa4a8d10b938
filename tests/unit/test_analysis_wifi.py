# SPDX-License-Identifier: Apache-2.0
"""What a station got and could have got, and what makes its run no data point."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from analysis import wifi, wifi_figures
from analysis.parse.wifi import PACKET, PROBE, parse_gate, parse_packets, parse_probes
from testbed.errors import RunInvalid

START_NS = 1_700_000_000_000_000_000


def radio(*, changes=None, samples=None, cycle=(("w1-ap1",), ("w1-ap2",)), scans=()):
    on = [{"at_s": 0.0, "nic": "w1", "ap": ap, "is_on": True, "why": "start"}
          for ap in ("ap1", "ap2")]  # fmt: skip
    links = [
        {"nic": "w1", "ap": ap, "link": f"w1-{ap}", "path": f"w1-{ap}",
         "samples": (samples or {}).get(ap, [[0.0, -60.0, 10_000_000, 0.0]])}
        for ap in ("ap1", "ap2")
    ]  # fmt: skip
    epochs = [{"at_s": 0.0, "cycle": [list(group) for group in cycle]}]
    slots = {"nic": "w1", "slot_s": 0.1, "switch_s": 0.005, "epochs": epochs}
    return {
        "scene": "static",
        "policy": "one-nic",
        "level": "gate",
        "aps": [{}, {}],
        "walk": [[0.0, 60.0, 15.0]],
        "links": links,
        "associations": on if changes is None else changes,
        "scans": list(scans),
        "slots": slots if cycle else None,
        "policy_numbers": {"scan_channel_s": 0.05, "scan_period_s": 1.0},
    }


def counts(**said):
    return {"packets": 0, "dropped_full": 0, "dropped_loss": 0, "dropped_down": 0, **said}


def frames(about=None, *, gate=None, drained=None, captured=0, arrivals=()):
    ways = {name: {"a_to_b": counts(), "b_to_a": counts()} for name in ("w1-ap1", "w1-ap2")}
    return SimpleNamespace(
        run={"radio": about or radio(), "duration_s": 10.0, "transport": "mptcp"},
        manifest={"started_unix_ns": START_NS},
        wifi={"gate": gate or [], "drained": drained or ways, "start": ways},
        captures=pd.DataFrame({"captured": [captured]}),
        received=lambda path: (
            SimpleNamespace(t_s=np.array(arrivals)) if arrivals and path == "w1-ap1" else None
        ),
    )


def test_the_oracle_of_two_equal_access_points_is_the_rate_without_the_switches():
    run = {"radio": radio(), "duration_s": 10.0, "transport": "udp"}
    assert wifi.oracle_mbps(run) == pytest.approx(10 * 0.95 * 1472 / 1500)


def test_background_scans_cost_their_share():
    about = radio(cycle=(), scans=[[1.0, 1.05, "w1"]])
    run = {"radio": about, "duration_s": 10.0, "transport": "udp"}
    assert wifi.oracle_mbps(run) == pytest.approx(20 * 0.95 * 1472 / 1500)


def test_two_access_points_of_one_channel_share_the_nic():
    run = {"radio": radio(cycle=(("w1-ap1", "w1-ap2"),)), "duration_s": 10.0, "transport": "udp"}
    assert wifi.oracle_mbps(run) == pytest.approx(10 * 1472 / 1500)


def test_the_expected_gap_is_the_time_without_any_access_point():
    changes = [
        {"at_s": 0.0, "nic": "w1", "ap": "ap1", "is_on": True},
        {"at_s": 4.2, "nic": "w1", "ap": "ap1", "is_on": False},
        {"at_s": 5.8, "nic": "w1", "ap": "ap2", "is_on": True},
    ]
    samples = {"ap1": [[0.0, -60, 1e7, 0.0], [4.0, -83, 0, 0.0]]}
    run = {"radio": radio(changes=changes, samples=samples, cycle=()), "duration_s": 10.0}
    assert wifi.expected_gap_s(run) == pytest.approx(1.8)


def test_bounds_of_what_slots_make_a_packet_wait():
    mean_ms, longest_ms = wifi.rtt_bounds_ms(radio())
    assert (mean_ms, longest_ms) == (pytest.approx(25), pytest.approx(110))
    assert wifi.rtt_bounds_ms(radio(cycle=(("w1-ap1",),))) is None


TURNS = [(0.0, ["w1-ap1", "w1-ap2"]), (0.0, []), (0.005, ["w1-ap1"]), (0.1, []),
         (0.105, ["w1-ap2"])]  # fmt: skip


def test_a_run_as_planned_is_a_data_point():
    assert wifi.check_wifi(frames(gate=TURNS, arrivals=(0.05,), captured=0)) == []


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"gate": [*TURNS[:3], (0.1, ["w1-ap1", "w1-ap2"])]}, "several channels were open at 0.1"),
        ({"gate": [*TURNS[:4], (0.102, ["w1-ap2"])]}, "2.00 ms after 0.102 s, a switch takes 5 ms"),
        ({"gate": TURNS, "arrivals": (0.103,)}, "1 packets arrived over w1-ap1 while the NIC"),
        ({"gate": TURNS, "captured": -3}, "3 packets vanished"),
    ],
)
def test_what_makes_it_none(said, message):
    assert message in wifi.check_wifi(frames(**said))[0].message


def test_what_an_access_point_sends_after_its_outage_was_lost_by_no_switch():
    about = {**radio(), "level": "mac80211"}
    ways = {name: {"a_to_b": counts(missed=0), "b_to_a": counts(missed=0)}
            for name in ("w1-ap1", "w1-ap2")}  # fmt: skip
    ways["w1-ap1"]["b_to_a"]["missed"], ways["w1-ap2"]["b_to_a"]["missed"] = 29, 4
    run = frames(about, drained=ways)
    gives_up, known = "gives up unheard", "is known again"
    run.radio = SimpleNamespace(
        log=[
            {"nic": "w1", "what": known, "ap": "ap1", "missed": 0},
            {"nic": "w1", "what": gives_up, "ap": "ap1", "missed": 2},
            {"nic": "w1", "what": "scan begins"},
            {"nic": "w1", "what": known, "ap": "ap1", "missed": 27},
            {"nic": "w1", "what": gives_up, "ap": "ap2", "missed": 1},
        ]
    )
    assert wifi.switch_losses(run) == 29 + 4 - (27 - 2) - (4 - 1)


def test_a_run_that_failed_is_named_in_the_walk_without_numbers():
    cell = SimpleNamespace(label="MPTCP")
    title = wifi_figures._walk_title
    assert title(cell, {"goodput_mbps": None, "gap_max_s": float("nan")}) == "MPTCP"
    said = title(cell, {"goodput_mbps": 11.324, "gap_max_s": 0.61})
    assert said == "MPTCP  ·  11.32 Mbit/s  ·  longest gap 0.61 s"


def test_records_are_read_whole_or_not_at_all():
    probe = np.array([(1, 7, 5, 6)], PROBE).tobytes()
    packet = np.array([(1, 7, 5, 6)], PACKET).tobytes()
    assert parse_probes(probe)["took_ns"].tolist() == [6]
    assert parse_packets(packet)["sequence"].tolist() == [7]
    with pytest.raises(RunInvalid, match="no whole number of records"):
        parse_packets(packet[:-1])


def test_the_gate_is_read_line_by_line():
    raw = json.dumps({"t_s": 0.1, "open": ["w1-ap1"]}).encode() + b"\n"
    assert parse_gate(raw) == [(0.1, ["w1-ap1"])]
