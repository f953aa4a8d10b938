# SPDX-License-Identifier: Apache-2.0
"""Plans: what becomes of an experiment file in run.json."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed import content
from testbed.errors import PlanError, SpecError
from testbed.plan import (
    TRACE_MARGIN_MS,
    Trace,
    load_trace,
    plan_hash,
    plan_run,
    ride_events,
    ride_stations,
)
from testbed.spec.load import parse_spec
from testbed.spec.model import RideSpec

VALID = (Path(__file__).parents[1] / "data" / "specs" / "valid.yaml").read_text()


def experiment(**overrides):
    dotted = {key.replace("__", "."): value for key, value in overrides.items()}
    return parse_spec(VALID, "valid.yaml", {"workload.size": "100 KB", **dotted})


def ride(dwell=5, tunnel=15, association=1.5, detection=0.5, fade=2):
    return RideSpec.model_validate(
        {
            "dwell": f"{dwell} s",
            "tunnel": f"{tunnel} s",
            "association": f"{association} s",
            "detection": f"{detection} s",
            "fade": f"{fade} s",
        }
    )


def link(plan, name):
    return next(link for link in plan["topology"]["links"] if link["name"] == name)


def downlink_times(plan):
    return link(plan, "3g")["b_to_a"]["trace"]["opportunities_ms"]


def changes(events):
    return [(event["at_s"], event["change"]) for event in events]


def test_stations():
    """The ride begins in a station, and the last stop ends with the ride."""
    assert ride_stations(ride(), 60) == [[0, 5], [20, 25], [40, 45]]
    assert ride_stations(ride(), 42) == [[0, 5], [20, 25], [40, 42]]
    assert ride_stations(ride(), 40) == [[0, 5], [20, 25]]
    assert ride_stations(ride(), 3) == [[0, 3]]


def test_ride_without_tunnels_is_one_station():
    assert ride_stations(ride(tunnel=0), 60) == [[0, 60]]


def test_ride_without_stops_has_no_station():
    assert ride_stations(ride(dwell=0), 60) == []


def test_events_of_a_ride():
    """WiFi goes before the laptop notices, and is there before the laptop has an address."""
    events = ride_events(ride(), ride_stations(ride(), 45), 45)
    assert changes(events) == [
        (5, "link_down"),
        (5.5, "address_gone"),
        (20, "link_up"),
        (21.5, "address_back"),
        (25, "link_down"),
        (25.5, "address_gone"),
        (40, "link_up"),
        (41.5, "address_back"),
    ]
    assert all(event.get("link", event.get("path")) == "wifi" for event in events)


def test_nothing_happens_at_or_after_the_end():
    events = ride_events(ride(), ride_stations(ride(), 20.5), 20.5)
    assert changes(events)[-1] == (20, "link_up")


def test_no_events_without_tunnels():
    still = ride(tunnel=0)
    assert ride_events(still, ride_stations(still, 60), 60) == []


def test_no_wifi_without_stops():
    """A ride without stops has 3G only: WiFi is off from the beginning."""
    tunnel = ride(dwell=0)
    events = ride_events(tunnel, ride_stations(tunnel, 60), 60)
    assert changes(events) == [(0, "link_down"), (0.5, "address_gone")]


def test_tunnel_that_nobody_notices_costs_no_address():
    """Otherwise the address would come back before it has gone."""
    short = ride(tunnel=0.4, association=0.01)
    events = ride_events(short, ride_stations(short, 6), 6)
    assert changes(events) == [(5, "link_down"), (5.4, "link_up")]


TENTHS = st.integers(0, 100).map(lambda number: number / 10)


@given(dwell=TENTHS, tunnel=TENTHS, association=TENTHS, detection=TENTHS, duration=TENTHS)
def test_link_and_address_come_and_go_in_turn(dwell, tunnel, association, detection, duration):
    """Whatever the ride: times ascend, and nothing goes that is not there or comes that is."""
    if dwell + tunnel <= 0 or 0 < dwell <= association:
        return
    one = ride(dwell, tunnel, association, detection)
    events = ride_events(one, ride_stations(one, duration), duration)
    times = [event["at_s"] for event in events]
    assert times == sorted(times)
    assert all(0 <= time < duration for time in times)
    for words in (("link_down", "link_up"), ("address_gone", "address_back")):
        seen = [event["change"] for event in events if event["change"] in words]
        assert seen == [words[number % 2] for number in range(len(seen))]


def test_plan_is_json_and_complete():
    plan = plan_run(experiment(), None)
    assert json.loads(json.dumps(plan)) == plan
    assert (plan["schema"], plan["experiment"], plan["seed"]) == (1, "offload", 1)
    assert plan["duration_s"] == 60
    assert plan["ride"] == {"stations": [[0, 5], [20, 25], [40, 45]]}
    assert plan["mptcp"]["limits"] == {"subflows": 8, "add_addr_accepted": 8}
    assert plan["collectors"]["ss"] == {"nodes": ["laptop", "proxy"], "interval_s": 0.1}


def test_workload_is_known_to_both_ends():
    plan = plan_run(experiment(seed=7), None)
    workload = plan["workload"]
    assert workload["sha256"] == content.sha256(7, 100_000)
    assert (workload["size_bytes"], workload["seed"]) == (100_000, 7)
    assert workload["proxy"]["address"] == link(plan, "core-proxy")["b_address"]
    assert workload["origin"]["address"] == link(plan, "proxy-origin")["b_address"]
    assert "http_port 0.0.0.0:3128" in workload["squid_conf"]


def test_every_path_is_captured():
    plan = plan_run(experiment(), None)
    assert [(one["interface"], one["file"]) for one in plan["captures"]] == [
        ("wlan0", "laptop.wifi.pcap"),
        ("cell0", "laptop.3g.pcap"),
    ]


def test_only_the_3g_downlink_follows_a_trace():
    plan = plan_run(experiment(), None)
    directions = {
        (one["name"], way): one[way]
        for one in plan["topology"]["links"]
        for way in ("a_to_b", "b_to_a")
    }
    assert [key for key, one in directions.items() if one["trace"]] == [("3g", "b_to_a")]
    assert directions["3g", "b_to_a"]["rate_bps"] is None
    assert directions["3g", "a_to_b"]["rate_bps"] == 2_000_000
    assert directions["wifi", "b_to_a"]["rate_bps"] == 8_000_000


def test_synthetic_ride_fades_in_the_middle_of_every_tunnel():
    times = downlink_times(plan_run(experiment(), None))
    for middle in (12_500, 32_500, 52_500):
        assert not [time for time in times if middle - 1000 < time <= middle + 1000]
        assert [time for time in times if middle - 1100 < time <= middle - 1000]
        assert [time for time in times if middle + 1000 < time <= middle + 1100]


def test_fade_is_not_longer_than_the_tunnel():
    times = downlink_times(plan_run(experiment(ride__fade="30 s"), None))
    assert not [time for time in times if 5_000 < time <= 20_000]
    assert [time for time in times if 20_000 < time <= 20_100]


def test_recorded_trace_is_repeated_and_cut():
    plan = plan_run(experiment(duration="1 s"), Trace("bus.down", [0, 300, 700]))
    assert link(plan, "3g")["b_to_a"]["trace"] == {
        "file": "bus.down",
        "offset_s": 0,
        "opportunities_ms": [300, 700, 700, 1000, 1400, 1400, 1700],
        "period_ms": 0,
    }


def test_trace_is_a_little_longer_than_the_ride():
    """It cannot run dry within the duration."""
    plan = plan_run(experiment(duration="2 s"), Trace("t", list(range(1, 10_000))))
    assert downlink_times(plan)[-1] == 2_000 + TRACE_MARGIN_MS


@pytest.mark.parametrize("first_ms", [60_001, 60_999, 1_000_000])
def test_trace_with_nothing_in_the_duration(first_ms):
    with pytest.raises(PlanError) as caught:
        plan_run(experiment(), Trace("bus.down", [first_ms]))
    assert str(caught.value) == "bus.down: the 3G link can deliver nothing within 60 s"


def test_synthetic_ride_with_nothing_in_the_duration():
    with pytest.raises(PlanError, match="^synthetic ride: the 3G link can deliver nothing within"):
        plan_run(experiment(duration="1 ms"), None)


def test_trace_is_read(tmp_path):
    (tmp_path / "bus.down").write_text("1\n2\n2\n")
    assert load_trace(tmp_path / "bus.down") == Trace("bus.down", [1, 2, 2])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "the trace cannot be read: no such file or directory"),
        (b"\xff\xfe\n", "the trace is not text; it needs a time in ms per line"),
        (b"", "the trace is empty; give it one time in ms per line"),
    ],
)
def test_trace_that_cannot_be_used(tmp_path, content, message):
    path = tmp_path / "bus.down"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SpecError) as caught:
        load_trace(path)
    assert str(caught.value) == f"{path}: {message}"


def test_plan_follows_from_the_experiment():
    assert plan_run(experiment(), None) == plan_run(experiment(), None)
    assert plan_run(experiment(), None) != plan_run(experiment(seed=2), None)


def test_hash_is_of_the_content():
    """The order of keys does not matter, any value does."""
    assert plan_hash({"a": 1, "b": [2]}) == plan_hash({"b": [2], "a": 1})
    assert plan_hash({"a": 1}) != plan_hash({"a": 2})
    assert plan_hash({"a": 1, "b": [2]}) == "ae8a9a50"


def test_hash_is_the_same_in_another_process():
    """Neither a random hash seed nor anything of this process is in it."""
    code = (
        "import sys; from testbed.plan import *; from testbed.spec.load import parse_spec; "
        "print(plan_hash(plan_run(parse_spec(sys.stdin.read(), '', {}), None)))"
    )
    said = subprocess.run(
        [sys.executable, "-c", code],
        input=VALID,
        capture_output=True,
        check=True,
        text=True,
        env={"PYTHONHASHSEED": "4"},
        timeout=60,
    )
    assert said.stdout.strip() == plan_hash(plan_run(parse_spec(VALID, "", {}), None))
