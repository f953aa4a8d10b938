# SPDX-License-Identifier: Apache-2.0
"""A station among access points as plain data: associations, links, slots, and bad input."""

import pytest

from testbed.errors import PlanError
from testbed.plan import plan_run
from testbed.spec.model import ExperimentSpec

STREET = {"shadowing": "0 dB", "first": "30 m, 10 m", "spacing": "70 m", "channels": [1, 36]}


def plan(mode="two-nic", seed=1, duration="120 s", workload="bulk", **wifi):
    return plan_run(
        ExperimentSpec.model_validate(
            {
                "schema": 1,
                "name": "wifi",
                "question": "?",
                "topology": "wifi_street",
                "duration": duration,
                "mode": mode,
                "workload": {"name": workload},
                "wifi": {**STREET, **wifi},
            }
        ),
        seed,
    )


def timeline(made):
    return [(c["nic"], c["ap"], c["is_on"], c["why"]) for c in made["radio"]["associations"]]


def changes(made, kind):
    return [event for event in made["events"] if event["change"] == kind]


def test_single_ap_has_the_hole_that_was_asked():
    made = plan("single-ap", joining={"dhcp": "2 s", "scan": "1 s", "detection": "300 ms"})
    start, lost, found = made["radio"]["associations"][:3]
    assert (start["ap"], lost["ap"], lost["why"], found["ap"]) == ("ap1", "ap1", "lost", "ap2")
    (down,) = [e for e in changes(made, "link_down") if e["link"] == "w1-ap1"]
    assert lost["at_s"] == pytest.approx(down["at_s"] + 0.3)
    assert found["at_s"] == pytest.approx(down["at_s"] + 0.3 + 1 + 0.1 + 2)


def test_the_last_address_goes_when_another_subflow_can_say_so():
    made = plan("single-ap")
    _, lost, found = made["radio"]["associations"][:3]
    (gone,), (back,) = changes(made, "address_gone")[:1], changes(made, "address_back")[:1]
    assert gone["path"] == "w1-ap1"
    assert back["at_s"] == found["at_s"] < gone["at_s"] <= found["at_s"] + 0.1
    assert lost["at_s"] < back["at_s"]


def test_the_address_of_an_access_point_that_comes_back_goes_before():
    made = plan("single-ap", aps=1, seed=3, outages={"every": "20 s", "length": "4 s"})
    events = [e for e in made["events"] if e["change"] in ("address_gone", "address_back")]
    assert [e["change"] for e in events[:2]] == ["address_gone", "address_back"]
    assert events[0]["at_s"] == made["radio"]["associations"][1]["at_s"]


def test_an_address_goes_at_once_where_another_one_is_left():
    made = plan("two-nic")
    off = next(c for c in made["radio"]["associations"] if not c["is_on"])
    assert changes(made, "address_gone")[0]["at_s"] == off["at_s"]


def test_fast_handover_makes_before_it_breaks():
    made = plan("fast-handover", scans={"period": "1 s"})
    _, on, off = made["radio"]["associations"][:3]
    assert (on["ap"], on["is_on"], off["ap"], off["is_on"]) == ("ap2", True, "ap1", False)
    assert on["at_s"] < off["at_s"]
    assert made["radio"]["scans"][0] == [1.0, 1.05, "w1"]


def test_without_scans_one_nic_never_learns_of_the_next_access_point():
    assert [row[3] for row in timeline(plan("fast-handover"))][:2] == ["start", "lost"]


def test_two_nics_are_on_two_access_points():
    made = plan("two-nic")
    assert timeline(made)[:3] == [
        ("w1", "ap1", True, "start"),
        ("w2", "ap2", True, "heard"),
        ("w1", "ap1", False, "weak"),
    ]
    assert made["paths_at_start"] == ["w1-ap1"]
    assert changes(made, "address_back")[0]["path"] == "w2-ap2"
    assert made["radio"]["slots"] is None


def test_one_nic_is_on_both_channels_by_turns():
    made = plan("one-nic", at="65 m")
    slots = made["radio"]["slots"]
    assert slots["epochs"] == [{"at_s": 0.0, "cycle": [["w1-ap1"], ["w1-ap2"]]}]
    assert (slots["slot_s"], slots["switch_s"], slots["is_adaptive"]) == (0.1, 0.005, False)


def test_access_points_of_one_channel_need_no_switch():
    made = plan("all-aps", at="65 m", channels=[6])
    assert made["radio"]["slots"]["epochs"][0]["cycle"] == [["w1-ap1", "w1-ap2"]]


def test_a_nic_has_one_access_point_per_channel_and_three_channels_at_most():
    crowd = {"spacing": "5 m", "at": "40 m", "aps": 5, "channels": [1, 6, 11, 36, 1]}
    assert len(plan("one-nic", **crowd)["paths_at_start"]) == 3
    assert len(plan("all-aps", **crowd)["paths_at_start"]) == 5


def test_two_nics_on_one_channel_disturb_each_other():
    def rates(channels):
        made = plan("two-nic", at="65 m", channels=channels)
        on = {c["nic"] + "-" + c["ap"] for c in made["radio"]["associations"]}
        return [one["samples"][0][2] for one in made["radio"]["links"] if one["link"] in on]

    alone = rates([1, 36])
    assert sum(rates([1, 1])) < 0.65 * max(alone)
    assert sum(alone) > sum(rates([1, 11])) > sum(rates([1, 1]))


def test_other_stations_take_their_part():
    def first(stations):
        return plan(at="31 m", stations=stations)["radio"]["links"][0]["samples"][0][2]

    assert first(2) == pytest.approx(first(0) / 3, abs=1)


def test_a_seed_gives_the_same_plan_and_another_seed_another_one():
    made = [plan(seed=seed, shadowing="4 dB")["radio"]["links"] for seed in (7, 7, 8)]
    assert made[0] == made[1] != made[2]


def test_outages_take_a_link_down_and_up():
    made = plan("all-aps", at="65 m", outages={"every": "20 s", "length": "5 s"})
    outages = made["radio"]["aps"][0]["outages"]
    downs = [e["at_s"] for e in changes(made, "link_down") if e["link"] == "w1-ap1"]
    assert outages
    assert downs == [start for start, _ in outages]


def test_udp_offers_a_little_more_than_the_slots_carry():
    made = plan("one-nic", at="65 m", workload="udp")
    for flow, link in zip(made["workload"]["flows"], made["radio"]["links"], strict=True):
        share = 0.95 / 2
        assert flow["rate_bps"] == pytest.approx(1.05 * share * link["samples"][0][2], abs=1)


@pytest.mark.parametrize(
    ("wifi", "message"),
    [
        ({"walk": ["400 m, 15 m"]}, "no access point is in range at the start, at 400 m, 15 m"),
        ({"level": "gate", "mode": "one-nick"}, 'did you mean "one-nic"'),
        ({"mode": "tcp-ap2", "at": "1 m"}, "ap2 is not in range at the start"),
    ],
)
def test_what_cannot_be_planned_is_said(wifi, message):
    with pytest.raises(PlanError, match=message):
        plan(**wifi)


@pytest.mark.parametrize(
    ("wifi", "message"),
    [
        ({"slots": {"slot": "9 ms", "switch": "5 ms"}}, "slots.slot: 9 ms is shorter than twice"),
        ({"walk": ["20 m, 5 m", "600 m, 5 m"]}, "walk.1 at 600 m, 5 m is off the map"),
        ({"at": "501 m"}, "at at 501 m, 15 m is off the map"),
        ({"aps": 6, "spacing": "100 m"}, "aps: number 6 at 530 m, 10 m is off the map"),
        ({"channels": [14]}, "channels: 14 is not a channel of 2.4 GHz"),
        ({"aps": 7}, "less than or equal to 6"),
        ({"first": "-3 m, 1 m"}, "is not a quantity"),
        ({"scans": {"period": "60 ms"}}, "a period is at least twice the time on a channel"),
    ],
)
def test_what_is_wrong_in_the_section_is_said(wifi, message):
    with pytest.raises(ValueError, match=message):
        plan(**wifi)


def test_the_section_needs_its_topology():
    spec = {
        "schema": 1, "name": "x", "question": "?", "topology": "underground", "duration": "5 s",
        "workload": {"name": "bulk"}, "wifi": {},
    }  # fmt: skip
    with pytest.raises(PlanError, match='"underground" has no access points; use "wifi_street"'):
        plan_run(ExperimentSpec.model_validate(spec), 1)
