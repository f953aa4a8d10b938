# SPDX-License-Identifier: Apache-2.0
"""A run with real radios is a data point only if the station really associated."""

import struct
from types import SimpleNamespace

import pytest

from analysis.parse.radio import Acceptance, RadioEvidence, parse_radio
from analysis.radio import check_radio
from analysis.ride import link_changes
from testbed.errors import RunInvalid

AP1, AP2, STATION = "02:00:00:00:00:00", "02:00:00:00:01:00", "02:00:00:00:02:00"


def mac(said):
    return bytes.fromhex(said.replace(":", ""))


def frame(control, receiver, sender, body=b""):
    radiotap = struct.pack("<BBHI", 0, 0, 8, 0)
    head = struct.pack("<HH", control, 0) + mac(receiver) + mac(sender) + mac(sender) + bytes(2)
    return radiotap + head + body


def capture(*frames, link_type=127):
    data = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 256, link_type)
    for number, one in enumerate(frames):
        data += struct.pack("<4I", 1_700_000_000, number, len(one), len(one)) + one
    return data


def test_what_an_access_point_answers_is_read():
    answer = struct.pack("<HHH", 0x401, 0, 0xC001)
    refusal = struct.pack("<HHH", 0x401, 17, 0)
    beacon, null, sleeping = 0x80, 0x148, 0x1148
    found = parse_radio(
        capture(
            frame(beacon, "ff:ff:ff:ff:ff:ff", AP1),
            frame(0x10, STATION, AP1, answer),
            frame(0x30, STATION, AP2, refusal),
            frame(sleeping, AP1, STATION),
            frame(sleeping, AP1, STATION),
            frame(null, AP2, STATION),
        )
    )
    assert found.acceptances == [
        Acceptance(1_700_000_000_000_000_001, AP1, STATION, 0),
        Acceptance(1_700_000_000_000_000_002, AP2, STATION, 17),
    ]
    assert (found.asleep, found.awake) == (2, 1)


def test_a_capture_of_something_else_is_refused():
    with pytest.raises(RunInvalid, match="link type 1 is not one of the air"):
        parse_radio(capture(link_type=1))


RUN = {
    "radio": {
        "level": "mac80211",
        "aps": [{"name": "ap1"}, {"name": "ap2"}],
        "links": [
            {"nic": "w1", "ap": name, "link": f"w1-{name}", "path": f"w1-{name}",
             "samples": [[0.0, -50.0, 8_000_000, 0.0], [5.0, -95.0, 0, 0.0]]}
            for name in ("ap1", "ap2")
        ],
    }
}  # fmt: skip
GOOD = {
    "log": [{"nic": "w1", "what": "associated", "ap": "ap1"}],
    "acceptances": [Acceptance(0, AP1, STATION, 0)],
    "access_points": {"ap1": "1.0: ap1-air: AP-STA-CONNECTED 02:00:00:00:02:00\n"},
    "nics": {"w1": f"w1: CTRL-EVENT-CONNECTED - Connection to {AP1} completed [id=0]\n"},
}


def judged(run=RUN, carried=("w1-ap1",), **evidence):
    frames = SimpleNamespace(
        run=run,
        radio=RadioEvidence(**{**GOOD, **evidence}),
        received=lambda path: True if path in carried else None,
    )
    return [reason.message for reason in check_radio(frames)]


def test_an_association_that_all_saw_is_good():
    assert judged() == []


def test_without_radios_there_is_nothing_to_check():
    gate = {"radio": {**RUN["radio"], "level": "gate"}}
    assert judged(gate, log=[]) == []


def test_a_run_without_an_association_is_invalid():
    assert judged(log=[]) == ["no NIC of the station was ever associated"]


@pytest.mark.parametrize(
    ("lost", "where"),
    [
        ({"acceptances": []}, "radio.pcap"),
        ({"acceptances": [Acceptance(0, AP1, STATION, 17)]}, "radio.pcap"),
        ({"access_points": {}}, "ap1.hostapd.txt"),
        ({"nics": {"w1": ""}}, "w1.wpa_supplicant.txt"),
    ],
)
def test_an_association_that_somebody_did_not_see_is_named(lost, where):
    assert judged(**lost) == [f"the association of w1 with ap1 is not in {where}"]


def test_packets_by_a_path_without_an_association_are_named():
    said = judged(carried=("w1-ap1", "w1-ap2"))
    assert said == ["packets came by w1-ap2, whose NIC was never associated there"]


def test_slots_without_null_frames_are_invalid():
    slots = {"epochs": [{"at_s": 0.0, "cycle": [["w1-ap1"], ["w1-ap2"]]}]}
    run = {"radio": {**RUN["radio"], "slots": slots}}
    said = ["no null frame told an access point that the station sleeps"]
    assert judged(run) == said
    assert judged(run, asleep=5) == []


def test_a_radio_link_changes_with_its_samples():
    assert link_changes(RUN, "w1-ap1", "a_to_b") == [
        {"at_s": 0.0, "rate_bps": 8_000_000, "loss_fraction": 0.0, "is_up": True},
        {"at_s": 5.0, "rate_bps": 0, "loss_fraction": 0.0, "is_up": False},
    ]
    gate = {"radio": {**RUN["radio"], "level": "gate"}}
    assert link_changes(gate, "w1-ap1", "a_to_b") == []
