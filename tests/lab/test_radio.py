# SPDX-License-Identifier: Apache-2.0
"""Radios in the lab associate, lose each other and take turns, as the plan has it."""

import json
import sys
from pathlib import Path

import pytest

GUEST = Path(__file__).with_name("radio_guest.py")


@pytest.fixture
def radio_guest(lab_exec):
    def run(function, *arguments):
        done = lab_exec(sys.executable, "-P", GUEST, function, json.dumps(arguments))
        assert done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout)

    return run


def test_a_station_that_loses_its_access_point_finds_the_other(radio_guest):
    """No frame says so: the stack misses beacons, scans, chooses and associates; twice alike."""
    first = radio_guest("loss_of_an_access_point", [1, 6])
    said = [(one["what"], one.get("ap")) for one in first["log"] if one["t_s"] is not None]
    assert ("disassociated", "ap1") in said
    assert said[-1] == ("associated", "ap2")
    assert first["is_known_to_ap2"]
    (gone_s, gone, left), (back_s, back, joined) = first["changes"]
    assert (gone, left, back, joined) == ("address_gone", "w1-ap1", "address_back", "w1-ap2")
    associated_s = first["log"][-1]["t_s"]
    assert back_s - associated_s == pytest.approx(0.3, abs=1e-3)  # DHCP
    assert 2.0 < gone_s < associated_s < 10.0
    assert radio_guest("loss_of_an_access_point", [1, 6]) == first


def test_the_air_carries_the_rate_of_its_sample(radio_guest):
    found = radio_guest("received", [1], 4)
    assert found["mbps"][0] == pytest.approx(8.0, rel=0.01)


def test_one_nic_on_two_channels_shares_the_time_and_loses_nothing(radio_guest):
    """R (1 - s / slot) for both together; what is sent arrives, waits, or found the queue full."""
    plan = {
        "nic": "w1", "slot_s": 0.1, "switch_s": 0.01, "is_adaptive": False, "silence_s": 0.01,
        "epochs": [{"at_s": 0.0, "cycle": [["w1-ap1"], ["w1-ap2"]]}],
    }  # fmt: skip
    second = {"at_s": 0.0, "nic": "w1", "ap": "ap2", "is_on": True, "why": "start"}
    found = radio_guest("received", [1, 36], 4, plan, [second], 2)
    assert sum(found["mbps"]) == pytest.approx(8.0 * (1 - 0.01 / 0.1), rel=0.03)
    assert found["mbps"][0] == pytest.approx(found["mbps"][1], rel=0.05)
    for one in found["down"]:
        assert one["unacknowledged"] == one["dropped_gone"] == one["dropped_down"] == 0
