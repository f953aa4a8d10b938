# SPDX-License-Identifier: Apache-2.0
"""Radios: what the driver is asked, what the daemons are told, and when which channel is heard."""

import struct

import pytest

from testbed.emulation.wireless import daemons, nic, radios
from testbed.emulation.wireless.air import SILENCE_DBM, Air, Pair
from testbed.emulation.wireless.control import Control
from testbed.emulation.wireless.radios import Radio, mac_of, mac_text
from testbed.emulation.wireless.slots import Slots
from testbed.errors import BackendError, PrerequisiteError
from testbed.netlink import generic, hwsim, nl80211
from testbed.netlink.message import (
    HEADER,
    NLMSG_ERROR,
    attr,
    message,
    nested,
    split_attrs,
    text,
    u16,
    u32,
)
from testbed.timetable import Timetable

AP = {"name": "ap1", "ssid": "ap1", "channel": 6, "frequency_mhz": 2437}
FAR_AP = {"name": "ap2", "ssid": "ap2", "channel": 36, "frequency_mhz": 5180}
FAMILY = 28


class RecordingSocket:
    """Stands in for the kernel: keeps what is asked and answers that the family is number 28."""

    def __init__(self, _family):
        self.asked = []

    def dump(self, request):
        self.asked.append(request)
        body = u16(generic.CTRL_ATTR_FAMILY_ID, FAMILY)
        done = message(NLMSG_ERROR, 0, bytes(4) + bytes(HEADER.size))
        return message(generic.GENL_ID_CTRL, 0, bytes([1, 2, 0, 0]) + body) + done

    def request(self, request, _what):
        self.asked.append(request)
        return 7

    def close(self):
        pass


@pytest.fixture
def simulator(monkeypatch):
    monkeypatch.setattr(hwsim, "NetlinkSocket", RecordingSocket)
    return hwsim.Simulator()


def attributes(request):
    """Return the command and the attributes of a generic netlink request."""
    assert struct.unpack_from("=IH", request)[1] == FAMILY
    return request[HEADER.size], split_attrs(request[HEADER.size + 4 :])


def test_a_radio_comes_without_an_interface_and_may_send_on_5_ghz(simulator):
    assert simulator.new_radio("ap1", 2) == 7  # the number that the driver answers with
    command, found = attributes(simulator._socket.asked[-1])
    assert command == hwsim.NEW_RADIO
    assert found == {
        hwsim.ATTR_CHANNELS: struct.pack("=I", 2),
        hwsim.ATTR_REG_CUSTOM_REG: bytes(4),
        hwsim.ATTR_RADIO_NAME: b"ap1\0",
        hwsim.ATTR_NO_VIF: b"",
    }


def test_hearing_is_packed_as_struct_hwsim_air_setting():
    one = hwsim.Hearing(1, 2, -67, True, 8_000_000, 90_000, 0.25, 3)
    assert one.packed().hex(" ", 4) == (
        "01000000 02000000 bdffffff 01000000 40420f00 00000000"  # -67 dBm, up, 1e6 bytes/s
        " 905f0100 00000040 03000000 00000000"  # 90 000 bytes, a quarter of 2^32, seed 3
    )


def test_loss_of_everything_fits_into_its_field():
    one = hwsim.Hearing(1, 2, -90, True, hwsim.RATE_UNLIMITED, 1, 1.0)
    assert struct.unpack("=IIiIQIIQ", one.packed())[4:7] == (2**64 - 1, 1, 2**32 - 1)


def test_counters_are_read_by_sender_and_receiver():
    counts = struct.pack("=II11Q", 3, 4, *range(11)) + struct.pack("=II11Q", 4, 3, *range(10, 21))
    answer = message(FAMILY, 0, bytes([hwsim.GET_AIR, 1, 0, 0]) + attr(hwsim.ATTR_AIR, counts))
    found = hwsim.air_counters(FAMILY, answer)
    assert found[3, 4]["dropped_full"] == 0
    assert found[3, 4]["packets"] == 4
    assert found[4, 3]["dropped_gone"] == 19


def test_a_radio_is_tuned_to_a_frequency(simulator):
    simulator.tune(5, 2412)
    assert attributes(simulator._socket.asked[-1]) == (
        hwsim.TUNE,
        {hwsim.ATTR_RADIO_ID: struct.pack("=I", 5), hwsim.ATTR_FREQ: struct.pack("=I", 2412)},
    )


def test_a_radio_is_moved_by_a_descriptor_of_the_namespace(monkeypatch):
    monkeypatch.setattr(nl80211, "NetlinkSocket", RecordingSocket)
    wireless = nl80211.Wireless()
    wireless.move_radio(3, 11)
    assert attributes(wireless._socket.asked[-1]) == (
        49,  # NL80211_CMD_SET_WIPHY_NETNS
        {1: struct.pack("=I", 3), 219: struct.pack("=I", 11)},  # WIPHY, NETNS_FD
    )


def test_an_interface_has_the_address_by_which_the_air_knows_its_radio(monkeypatch):
    monkeypatch.setattr(nl80211, "NetlinkSocket", RecordingSocket)
    wireless = nl80211.Wireless()
    radio = Radio("w1", 258, 3)
    wireless.new_interface(3, "w1-ap2", radios.IFTYPE_STATION, mac_of(radio, 1))
    command, found = attributes(wireless._socket.asked[-1])
    assert command == 7  # NL80211_CMD_NEW_INTERFACE
    assert found[4] == b"w1-ap2\0"
    assert mac_text(found[6]) == "02:00:00:01:02:01"


def test_a_kernel_without_radios_is_refused(monkeypatch):
    class Empty(RecordingSocket):
        def dump(self, _request):
            return message(NLMSG_ERROR, 0, struct.pack("=i", -2) + bytes(HEADER.size))

    monkeypatch.setattr(hwsim, "NetlinkSocket", Empty)
    with pytest.raises(PrerequisiteError, match="no simulated radios; use the lab"):
        hwsim.Simulator()


def test_groups_of_a_family_are_found_by_name():
    one = nested(1, u32(generic.CTRL_ATTR_MCAST_GRP_ID, 9), text(1, "scan"))
    assert generic._groups(one) == {"scan": 9}


def test_more_radios_than_possible_are_refused():
    radios.check_number(100)
    with pytest.raises(PrerequisiteError) as caught:
        radios.check_number(101)
    assert str(caught.value) == (
        "the kernel simulates 100 radios, the experiment needs 101, one for each access point and "
        "each NIC; take fewer access points"
    )


# The air


class RecordingSimulator:
    def __init__(self):
        self.said = []
        self.tuned = []

    def set_air(self, hearings):
        self.said.append(list(hearings))

    def tune(self, radio, frequency_mhz):
        self.tuned.append((radio, frequency_mhz))


SAMPLES = [[0.0, -50.0, 20_000_000, 0.0], [1.0, -60.4, 10_000_000, 0.1], [2.0, -95.0, 0, 1.0]]


def pair(samples=SAMPLES):
    return Pair("w1-ap1", Radio("w1", 1, 0), Radio("ap1", 0, 1), 1000, 2000, samples, 3)


def test_sample_holds_until_the_next_one():
    assert pair().sample(0.999)[2] == 20_000_000
    assert pair().sample(1.0)[2] == 10_000_000
    assert pair().sample(9.0)[2] == 0
    assert pair([[0.5, -50.0, 1, 0.0]]).sample(0.0)[2] == 1


def test_each_way_has_its_own_queue_and_seed():
    up, down = pair().hearings(1.0)
    assert up == hwsim.Hearing(1, 0, -60, True, 10_000_000, 1000, 0.1, 6)
    assert down == hwsim.Hearing(0, 1, -60, True, 10_000_000, 2000, 0.1, 7)


def test_out_of_range_nothing_is_heard():
    up, down = pair().hearings(2.5)
    assert not up.is_up
    assert not down.is_up
    assert up.signal_dbm == SILENCE_DBM


def test_only_what_changes_is_said():
    simulator = RecordingSimulator()
    air = Air(simulator, [pair()])
    for t_s in (0.0, 0.5, 1.0):
        air.set(t_s)
    assert [len(said) for said in simulator.said] == [2, 2]
    timetable = Timetable()
    air.enter(timetable, 1_000)
    assert timetable.next_ns() == 1_000 + 1_000_000_000


# Slots


def slots(**changes):
    plan = {"slot_s": 0.1, "switch_s": 0.005, "silence_s": 0.01, "is_adaptive": False}
    plan["epochs"] = [{"at_s": 0.0, "cycle": [["w1-ap1"], ["w1-ap2"]]}]
    simulator = RecordingSimulator()
    timetable = Timetable()
    carried = changes.pop("carried", lambda _link: 0)
    frequencies_mhz = {"w1-ap1": 2412, "w1-ap2": 2437}
    shown = changes.pop("shown", [])
    radio = Radio("w1", 4, 0)
    made = Slots(simulator, radio, frequencies_mhz, plan | changes, carried, shown.append)
    made.start(timetable, 0)
    simulator.slots = made
    return simulator, timetable


def tuned_until(simulator, timetable, end_ms):
    """Return what the radio was tuned to, with the time in ms."""
    found = []
    while (now_ns := timetable.next_ns()) is not None and now_ns <= end_ms * 1_000_000:
        timetable.call_due(now_ns)
        found += [(now_ns / 1e6, frequency) for _, frequency in simulator.tuned]
        simulator.tuned.clear()
    return found


TOLD_AT_THE_START = 5  # each access point hears that the station is away


def test_a_slot_begins_with_its_switch():
    found = tuned_until(*slots(), 310)
    assert found[:TOLD_AT_THE_START] == [
        (0, 2412),
        (0, hwsim.NOWHERE),
        (0, 2437),
        (0, hwsim.NOWHERE),
        (0, hwsim.NOWHERE),
    ]
    assert found[TOLD_AT_THE_START:] == [
        (5, 2412),
        (100, hwsim.NOWHERE),
        (105, 2437),
        (200, hwsim.NOWHERE),
        (205, 2412),
        (300, hwsim.NOWHERE),
        (305, 2437),
    ]


def test_it_is_taken_down_which_links_are_open():
    shown = []
    tuned_until(*slots(shown=shown), 110)
    assert shown == [["w1-ap1", "w1-ap2"], [], ["w1-ap1"], [], ["w1-ap2"]]


def test_an_adaptive_slot_ends_when_its_channel_is_silent():
    found = tuned_until(*slots(is_adaptive=True), 40)
    assert found[TOLD_AT_THE_START:] == [
        (5, 2412),
        (15, hwsim.NOWHERE),
        (20, 2437),
        (30, hwsim.NOWHERE),
        (35, 2412),
    ]


def test_an_adaptive_slot_goes_on_while_something_is_carried():
    counts = iter(range(1000))
    found = tuned_until(*slots(is_adaptive=True, carried=lambda _link: next(counts)), 110)
    assert found[TOLD_AT_THE_START:] == [(5, 2412), (100, hwsim.NOWHERE), (105, 2437)]


def test_an_access_point_that_is_joined_hears_that_the_nic_is_elsewhere():
    simulator, timetable = slots()
    tuned_until(simulator, timetable, 50)
    simulator.slots.joined("w1-ap1")
    assert simulator.tuned == []
    simulator.slots.joined("w1-ap2")
    assert [frequency for _, frequency in simulator.tuned] == [2437, hwsim.NOWHERE, 2412]


def test_with_one_channel_left_the_radio_stays_there():
    epochs = [
        {"at_s": 0.0, "cycle": [["w1-ap1"], ["w1-ap2"]]},
        {"at_s": 0.15, "cycle": [["w1-ap2"]]},
    ]
    found = tuned_until(*slots(epochs=epochs), 500)
    assert found[-1] == (150, 2437)


# The daemons


def test_access_point_is_configured_for_its_band():
    said = daemons.hostapd_text("ap1-air", AP).splitlines()
    assert {"interface=ap1-air", "ssid=ap1", "hw_mode=g", "channel=6"} <= {*said}
    assert "hw_mode=a" in daemons.hostapd_text("ap2-air", FAR_AP).splitlines()
    assert "wpa=2" not in said


def test_a_passphrase_makes_it_wpa2():
    assert "wpa_passphrase=secret-words" in daemons.hostapd_text("i", AP, "secret-words")
    assert 'psk="secret-words"' in daemons.supplicant_text([AP], "secret-words")


def test_a_nic_scans_the_channels_that_there_are():
    said = daemons.supplicant_text([FAR_AP, AP])
    assert "freq_list=2437 5180\n" in said
    assert said.count("network={") == 2
    assert said.count("\tdisabled=1") == 2


class FakeControl:
    """Answers as wpa_supplicant 2.10 did."""

    def __init__(self, events=(), results=""):
        self.asked, self._events, self._results = [], [*events], results

    def ask(self, command):
        self.asked.append(command)
        return self._results if command == nic.FRESH else "OK\n"

    def events(self):
        found, self._events = self._events, []
        return found


APS = {"02:00:00:00:00:00": "ap1", "02:00:00:00:01:00": "ap2"}
RESULTS = """bssid=02:00:00:00:01:00
level=-61
age=0
====
bssid=02:00:00:00:00:00
level=-44
age=0
====
bssid=02:00:00:00:03:00
level=-44
age=0
====
"""


def make_nic(*events):
    said = []
    control = FakeControl(events, RESULTS)
    return nic.Nic("w1", control, APS, said.append), control, said


def test_a_nic_follows_its_association():
    made, _, said = make_nic(
        "CTRL-EVENT-SCAN-STARTED ",
        "CTRL-EVENT-SCAN-RESULTS ",
        "CTRL-EVENT-CONNECTED - Connection to 02:00:00:00:01:00 completed [id=1 id_str=ap2]",
    )
    changes = []
    made.on_change = lambda one, before: changes.append((one.ap, before))
    made.take()
    assert made.ap == "ap2"
    assert changes == [("ap2", None)]
    assert [one["what"] for one in said] == ["scan begins", "scan ends", "associated"]
    assert said[1]["heard"] == [
        {"ap": "ap1", "signal_dbm": -44},
        {"ap": "ap2", "signal_dbm": -61},
    ]


def test_what_an_earlier_scan_heard_does_not_count():
    made, control, _ = make_nic()
    control._results = RESULTS.replace("level=-61\nage=0", "level=-61\nage=3")
    assert made.heard() == [{"ap": "ap1", "signal_dbm": -44}]


def test_a_nic_notices_a_loss_and_says_why():
    made, _, said = make_nic("CTRL-EVENT-DISCONNECTED bssid=02:00:00:00:00:00 reason=4")
    made.ap = "ap1"
    made.take()
    assert made.ap is None
    assert said == [{"nic": "w1", "what": "disassociated", "ap": "ap1", "reason": 4}]


def test_a_nic_is_told_by_the_number_of_a_network():
    made, control, _ = make_nic()
    made.associate("ap2")
    made.leave()
    assert control.asked == ["SELECT_NETWORK 1", "DISCONNECT"]
    assert made.wanted is None


def test_what_wpa_supplicant_refuses_is_said(tmp_path):
    class Socket:
        def send(self, _data):
            pass

        def recv(self, _bytes):
            return b"FAIL\n"

    control = Control.__new__(Control)
    control._path, control._commands = tmp_path / "w1", Socket()
    with pytest.raises(BackendError, match="^wpa_supplicant refused SCAN on w1$"):
        control.ask("SCAN")
