# SPDX-License-Identifier: Apache-2.0
"""The street: a path per NIC and access point, each access point with networks of its own."""

import pytest

from testbed.errors import PlanError
from topologies.wifi_street import WifiStreet


def test_a_path_per_nic_and_access_point():
    plain = WifiStreet(aps=3, nics=2).plain()
    assert [path["name"] for path in plain["paths"]] == [
        "w1-ap1", "w1-ap2", "w1-ap3", "w2-ap1", "w2-ap2", "w2-ap3",
    ]  # fmt: skip
    assert plain["paths"][5]["hops"] == [
        ["w2-ap3", "a_to_b"], ["ap3-core", "a_to_b"], ["wire", "a_to_b"],
    ]  # fmt: skip
    assert len({path["address"].rpartition(".")[0] for path in plain["paths"]}) == 6


def test_all_delay_is_in_the_wire():
    links = {link["name"]: link for link in WifiStreet().plain()["links"]}
    assert links["w1-ap1"]["a_to_b"]["one_way_delay_s"] == 0
    assert links["wire"]["b_to_a"]["one_way_delay_s"] == 0.01


@pytest.mark.parametrize("wrong", [{"aps": 0}, {"aps": 7}, {"nics": 3}])
def test_there_are_so_many(wrong):
    with pytest.raises(PlanError, match="there are 1 to"):
        WifiStreet(**wrong)
