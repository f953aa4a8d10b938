# SPDX-License-Identifier: Apache-2.0
"""Modes: what a client does with its paths in small situations that one can follow by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.errors import PlanError
from testbed.plan.modes import Situation, mode_names, use_paths
from testbed.plan.spans import complement, subtract

# WiFi's radio is there until 5 s and from 20 s to 25 s; the laptop notices half a second later
# that it is gone, and takes a second and a half to join; 3G fades from 10 s to 12 s.
PATHS = ["wifi", "3g"]
RIDE = Situation(PATHS, 30, [(0, 5), (20, 25)], [(0, 5.5), (21.5, 25.5)], [(10, 12)], 2)
STILL = Situation(PATHS, 30, [(0, 30)], [(0, 30)], [], 0)
# It begins in a tunnel; the radio comes at 10 s.
LATE = Situation(PATHS, 30, [(10, 20)], [(11.5, 20.5)], [], 2)
NEVER = Situation(PATHS, 30, [], [], [], 2)
SHORT = Situation(PATHS, 30, [(0, 5), (7, 20)], [(0, 5.5), (7.4, 20.5)], [], 2)
ALONE = Situation(["eth"], 30, [(0, 30)], [(0, 30)], [], 0)
THREE = Situation(["wifi", "3g", "sat"], 30, [(0, 5)], [(0, 5.5)], [(10, 12)], 2)


def seen(use):
    found = [
        (event["at_s"], event["change"], event["path"])
        for event in sorted(use.events, key=lambda one: one["at_s"])
    ]
    assert all(0 <= at < 30 for at, _, _ in found)
    return found


GONE_AND_BACK = [
    (5.5, "address_gone", "wifi"),
    (21.5, "address_back", "wifi"),
    (25.5, "address_gone", "wifi"),
]
CARRYING = [(0, 5), (21.5, 25)]


def test_names_of_modes():
    assert mode_names(["eth"]) == ["tcp-eth", "mptcp-full"]
    assert mode_names(["wifi", "3g"]) == [
        "tcp-wifi", "tcp-3g", "tcp-handover", "mptcp-full", "mptcp-backup", "mptcp-single"
    ]  # fmt: skip
    assert mode_names(["wifi", "3g", "sat"])[:3] == ["tcp-wifi", "tcp-3g", "tcp-sat"]


@pytest.mark.parametrize(
    ("mode", "paths", "hint"),
    [
        ("mptcp-ful", PATHS, 'did you mean "mptcp-full"?'),
        ("tcp-hand-over", PATHS, 'did you mean "tcp-handover"?'),
        ("mptcp-backup", ["eth"], 'did you mean "mptcp-full"?'),
        ("x", ["eth"], "there are tcp-eth, mptcp-full"),
    ],
)
def test_unknown_mode(mode, paths, hint):
    with pytest.raises(PlanError) as caught:
        use_paths(mode, Situation(paths, 30, [(0, 30)], [(0, 30)], [], 0))
    assert str(caught.value) == f'mode: "{mode}" is not a mode of this network ({hint})'


def test_full_uses_both_paths_all_the_time():
    use = use_paths("mptcp-full", RIDE)
    assert (use.transport, use.first_path, use.is_resumed) == ("mptcp", None, False)
    assert use.flags == {"wifi": ["subflow"], "3g": ["subflow"]}
    assert use.at_start == ["wifi", "3g"]
    assert seen(use) == GONE_AND_BACK
    assert use.expected == {"wifi": CARRYING, "3g": [(0, 10), (12, 30)]}


def test_backup_expects_the_second_path_only_without_the_first():
    use = use_paths("mptcp-backup", RIDE)
    assert use.flags == {"wifi": ["subflow"], "3g": ["subflow", "backup"]}
    assert use.at_start == ["wifi", "3g"]
    assert seen(use) == GONE_AND_BACK
    assert use.expected == {"wifi": CARRYING, "3g": [(7.5, 10), (12, 21.5), (27.5, 30)]}


def test_single_breaks_before_it_makes():
    use = use_paths("mptcp-single", RIDE)
    assert use.flags == {"wifi": ["subflow"], "3g": ["subflow"]}
    assert (use.transport, use.at_start) == ("mptcp", ["wifi"])
    assert seen(use) == [
        (5.5, "address_gone", "wifi"),
        (7.5, "address_back", "3g"),
        (21.5, "address_gone", "3g"),
        (21.5, "address_back", "wifi"),
        (25.5, "address_gone", "wifi"),
        (27.5, "address_back", "3g"),
    ]
    assert use.expected == {"wifi": CARRYING, "3g": [(7.5, 10), (12, 21.5), (27.5, 30)]}


def test_handover_changes_by_a_new_connection():
    use = use_paths("tcp-handover", RIDE)
    assert (use.transport, use.flags, use.is_resumed) == ("tcp", {}, True)
    assert (use.at_start, use.first_path) == (["wifi", "3g"], "wifi")
    assert seen(use) == [
        (5.5, "address_gone", "wifi"),
        (5.5, "use_path", None),
        (7.5, "use_path", "3g"),
        (21.5, "address_back", "wifi"),
        (21.5, "use_path", "wifi"),
        (25.5, "address_gone", "wifi"),
        (25.5, "use_path", None),
        (27.5, "use_path", "3g"),
    ]
    assert use.expected == {"wifi": CARRYING, "3g": [(7.5, 10), (12, 21.5), (27.5, 30)]}


def test_preferred_path_alone_is_resumed():
    use = use_paths("tcp-wifi", RIDE)
    assert (use.transport, use.flags, use.is_resumed) == ("tcp", {}, True)
    assert (use.at_start, use.first_path) == (["wifi"], "wifi")
    assert sorted(seen(use), key=str) == sorted(
        [
            *GONE_AND_BACK,
            (5.5, "use_path", None),
            (21.5, "use_path", "wifi"),
            (25.5, "use_path", None),
        ],
        key=str,
    )
    assert use.expected == {"wifi": CARRYING}


def test_second_path_alone_stays():
    """Its one connection lasts through the fades."""
    use = use_paths("tcp-3g", RIDE)
    assert (use.at_start, use.first_path, use.is_resumed) == (["3g"], "3g", False)
    assert seen(use) == []
    assert use.expected == {"3g": [(0, 10), (12, 30)]}


@pytest.mark.parametrize("mode", mode_names(PATHS))
def test_nothing_changes_for_a_client_that_stays(mode):
    use = use_paths(mode, STILL)
    assert seen(use) == []
    used = {"tcp-wifi": ["wifi"], "tcp-3g": ["3g"], "mptcp-full": ["wifi", "3g"]}.get(
        mode, ["wifi"]
    )
    assert [path for path, spans in use.expected.items() if spans] == used
    assert all(use.expected[path] == [(0, 30)] for path in used)


WIFI_ONCE = [(11.5, "address_back", "wifi"), (20.5, "address_gone", "wifi")]


@pytest.mark.parametrize(
    ("mode", "at_start", "first", "changes"),
    [
        ("mptcp-full", ["3g"], None, WIFI_ONCE),
        ("mptcp-backup", ["3g"], None, WIFI_ONCE),
        (
            "mptcp-single",
            ["3g"],
            None,
            [
                (11.5, "address_gone", "3g"),
                (11.5, "address_back", "wifi"),
                (20.5, "address_gone", "wifi"),
                (22.5, "address_back", "3g"),
            ],
        ),
        (
            "tcp-handover",
            ["3g"],
            "3g",
            [
                (11.5, "address_back", "wifi"),
                (11.5, "use_path", "wifi"),
                (20.5, "address_gone", "wifi"),
                (20.5, "use_path", None),
                (22.5, "use_path", "3g"),
            ],
        ),
        (
            "tcp-wifi",
            [],
            None,
            [
                (11.5, "address_back", "wifi"),
                (11.5, "use_path", "wifi"),
                (20.5, "address_gone", "wifi"),
                (20.5, "use_path", None),
            ],
        ),
    ],
)  # fmt: skip
def test_radio_that_is_not_there_at_the_start(mode, at_start, first, changes):
    """3G is in use from the start then, and not only after a promotion."""
    use = use_paths(mode, LATE)
    assert (use.at_start, use.first_path) == (at_start, first)
    assert seen(use) == changes
    assert use.expected["wifi"] == [(11.5, 20)]
    if mode != "tcp-wifi":
        assert use.expected["3g"][0][0] == 0


@pytest.mark.parametrize("mode", mode_names(PATHS))
def test_radio_that_never_comes(mode):
    use = use_paths(mode, NEVER)
    assert seen(use) == []
    assert use.expected.get("wifi", []) == []
    assert use.at_start == ([] if mode == "tcp-wifi" else ["3g"])
    if mode != "tcp-wifi":
        assert use.expected["3g"] == [(0, 30)]


@pytest.mark.parametrize("mode", ["mptcp-single", "tcp-handover"])
def test_gap_shorter_than_the_promotion_brings_no_second_path(mode):
    """From 5.5 s to 7.4 s there is nothing at all; only the gap at the end has 3G."""
    use = use_paths(mode, SHORT)
    on_3g = [one for one in seen(use) if one[2] == "3g"]
    assert [at for at, _, _ in on_3g] == [22.5]
    assert use.expected["3g"] == [(22.5, 30)]


def test_promotion_of_no_time_keeps_the_order():
    """The connection on the old path ends before the one on the new path begins."""
    now = Situation(PATHS, 30, [(0, 5)], [(0, 5)], [], 0)
    used = [(at, path) for at, change, path in seen(use_paths("tcp-handover", now))
            if change == "use_path"]  # fmt: skip
    assert used == [(5, None), (5, "3g")]


def test_one_path():
    for mode in ("tcp-eth", "mptcp-full"):
        use = use_paths(mode, ALONE)
        assert (use.at_start, use.events, use.expected) == (["eth"], [], {"eth": [(0, 30)]})


def test_three_paths():
    """The second one takes over; a third one is there all the time, or not at all."""
    full = use_paths("mptcp-full", THREE)
    assert full.flags == {path: ["subflow"] for path in THREE.paths}
    assert full.at_start == ["wifi", "3g", "sat"]
    assert full.expected == {"wifi": [(0, 5)], "3g": [(0, 10), (12, 30)], "sat": [(0, 30)]}
    backup = use_paths("mptcp-backup", THREE)
    assert backup.flags["sat"] == ["subflow", "backup"]
    assert use_paths("mptcp-single", THREE).at_start == ["wifi"]
    sat = use_paths("tcp-sat", THREE)
    assert (sat.at_start, sat.events, sat.expected) == (["sat"], [], {"sat": [(0, 30)]})


def in_pairs(edges):
    tenths = [edge / 10 for edge in sorted(edges)]
    return list(zip(tenths[::2], tenths[1::2], strict=False))


TENTHS = st.lists(st.integers(0, 300), max_size=10, unique=True).map(in_pairs)


@given(TENTHS, TENTHS, st.integers(0, 50).map(lambda number: number / 10))
def test_addresses_go_and_come_in_turn_in_every_mode(usable, silent, promotion):
    """Whatever the ride: nothing goes that is not there or comes that is."""
    now = Situation(PATHS, 30, usable, usable, silent, promotion)
    for mode in mode_names(PATHS):
        use = use_paths(mode, now)
        there = set(use.at_start)
        order = {"address_gone": 0, "address_back": 1, "use_path": 2}
        for event in sorted(use.events, key=lambda one: (one["at_s"], order[one["change"]])):
            path = event["path"]
            if event["change"] == "address_gone":
                assert path in there
                there.remove(path)
            elif event["change"] == "address_back":
                assert path not in there
                there.add(path)
            elif path is not None:
                assert path in there
            if mode == "mptcp-single":
                assert len(there) <= 1


@given(TENTHS, TENTHS, st.integers(0, 50).map(lambda number: number / 10))
def test_second_path_of_single_and_handover_is_expected_where_it_is_used(usable, silent, promotion):
    now = Situation(PATHS, 30, usable, usable, silent, promotion)
    for mode in ("mptcp-single", "mptcp-backup", "tcp-handover"):
        expected = use_paths(mode, now).expected["3g"]
        assert subtract(expected, complement(usable, 30), 30) == []
        assert subtract(expected, complement(silent, 30), 30) == []
