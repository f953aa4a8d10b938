# SPDX-License-Identifier: Apache-2.0
"""What figures say of a run is true of that run."""

import pytest

from analysis.style import path_style
from analysis.wording import describe_control, is_sized, models, path_order, subject, title

PATHS = {"paths": [{"name": "wifi"}, {"name": "3g"}]}
RUN = {"topology": PATHS, "workload": {"name": "download", "size_bytes": 60_000_000},
       "coverage": {"wifi": [[0, 5]]}}  # fmt: skip
BULK = {"topology": PATHS, "workload": {"name": "bulk", "flows": [{"size_bytes": None}]}}


@pytest.mark.parametrize(
    ("run", "text"),
    [
        (RUN | {"mode": "tcp-wifi", "transport": "tcp"}, "TCP, WiFi only: download of 60 MB"),
        (RUN | {"mode": "mptcp-full"}, "MPTCP, all paths: download of 60 MB"),
        (RUN | {"mode": None, "transport": "tcp", "mptcp": {"scheduler": "default"}},
         "TCP: download of 60 MB over WiFi and 3G"),
        (RUN | {"mptcp": {"congestion_control": "cubic"}},
         "MPTCP: download of 60 MB over WiFi and 3G"),
        (BULK | {"transport": "mptcp"}, "MPTCP: bulk transfer over 3G and WiFi"),
        ({"workload": {}}, "TCP: run"),
    ],
)  # fmt: skip
def test_the_title_of_a_run(run, text):
    assert title(run) == text


def test_the_path_that_comes_and_goes_is_on_top():
    assert path_order(RUN) == ("3g", "wifi")
    assert path_order(BULK) == ("wifi", "3g")


def test_what_ends_with_its_last_byte():
    assert is_sized(RUN) and not is_sized(BULK)
    assert is_sized({"workload": {"flows": [{"size_bytes": 5}]}})


def test_many_paths_are_counted():
    many = {"topology": {"paths": [{"name": str(n)} for n in range(300)]}}
    assert subject(many) == "run over 300 paths"


def test_coupled_congestion_control_is_told_from_uncoupled():
    assert describe_control("cubic") == "cubic (uncoupled)"
    assert describe_control("lia") == "lia (coupled)"


RATE = {"at_s": 1.0, "change": "link", "link": "3g", "direction": "a_to_b", "rate_bps": 1e6}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({}, "Model: links of constant rate."),
        ({"events": [{"at_s": 1.0, "change": "link_down", "link": "3g"}]},
         "Model: links of constant rate."),
        ({"events": [RATE]}, "Model: links whose rate changes as the experiment says."),
        ({"radio": {"level": "gate"}, "events": [RATE]},
         "Model: rates follow the station's place, by a radio model (level gate)."),
    ],
)  # fmt: skip
def test_what_stands_for_reality_is_said(more, words):
    run = {"topology": {"paths": [], "links": []}, "workload": {"name": "bulk"}, **more}
    assert models(run) == (words,)


def test_paths_over_one_access_point_have_shades_of_its_colour():
    looks = [path_style(name) for name in ("w1-ap1", "w2-ap1", "w1-ap2")]
    assert [look.label for look in looks] == ["AP 1, NIC 1", "AP 1, NIC 2", "AP 2, NIC 1"]
    assert len({look.colour for look in looks}) == 3
    assert looks[0].colour.lower() == "#0072b2"
