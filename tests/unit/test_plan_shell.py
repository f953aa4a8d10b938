# SPDX-License-Identifier: Apache-2.0
"""What `testbed shell` is told: a topology by name or file, parameters and links."""

import pytest

from testbed.errors import PlanError, SpecError
from testbed.plan.shell import plan_shell
from topologies import TOPOLOGIES

ROW = """
from testbed.topology import Topology

class Row(Topology):
    def build(self, nodes: int = 2):
        names = [self.add_host(f"h{number}") for number in range(nodes)]
        for a, b in zip(names, names[1:]):
            self.add_link(f"{a}-{b}", a, b)
"""


@pytest.fixture
def row(tmp_path):
    path = tmp_path / "row.py"
    path.write_text(ROW + 'topos = {"row": Row}\n')
    return str(path)


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_every_topology_has_a_shell(name):
    assert plan_shell(name, {}) == TOPOLOGIES[name]().plain()


def test_link_is_set_like_in_an_experiment():
    plain = plan_shell("underground", {"links.wifi.rate": "1 Mbit/s", "links.wifi.up.loss": 0.01})
    wifi = plain["links"][0]
    assert (wifi["a_to_b"]["rate_bps"], wifi["b_to_a"]["rate_bps"]) == (1_000_000, 1_000_000)
    assert (wifi["a_to_b"]["loss_fraction"], wifi["b_to_a"]["loss_fraction"]) == (0.01, 0.0)


def test_file_with_a_topology(row):
    assert len(plan_shell(row, {"nodes": 5})["nodes"]) == 5
    assert len(plan_shell(f"{row}:row", {})["nodes"]) == 2


@pytest.mark.parametrize(
    ("topology", "settings", "said"),
    [
        (
            "undergroud",
            {},
            'topology: "undergroud" is not a topology (did you mean "underground"?)',
        ),
        ("ROW:rows", {}, 'topology: "rows" is not a topology (did you mean "row"?)'),
        (
            "ROW",
            {"nods": 3},
            'topology.parameters.nods: "row" has no such parameter (did you mean "nodes"?)',
        ),
        (
            "underground",
            {"links.wify.rate": "1 Mbit/s"},
            '"wify" is not a link of this network (did you mean "wifi"?)',
        ),
        (
            "underground",
            {"links.wifi.rat": "1 Mbit/s"},
            '--set: links.wifi.rat: unknown key (did you mean "rate"?)',
        ),
        ("nowhere.py", {}, "nowhere.py: the topology cannot be read: no such file or directory"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(row, topology, settings, said):
    with pytest.raises((PlanError, SpecError)) as caught:
        plan_shell(topology.replace("ROW", row), settings)
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("", 'this file has no topos = {"name": Topology}'),
        ("topos = {}", 'this file has no topos = {"name": Topology}'),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        (
            "from mininet.topo import Topo\ntopos = {'t': Topo}",
            '"t" is not a class derived from testbed.topology.Topology',
        ),
    ],
)
def test_file_without_a_topology(tmp_path, code, said):
    path = tmp_path / "odd.py"
    path.write_text(code)
    with pytest.raises((PlanError, SpecError)) as caught:
        plan_shell(str(path), {})
    assert str(caught.value) == f"{path}: {said}"


def test_file_with_several_topologies(tmp_path):
    path = tmp_path / "two.py"
    path.write_text(ROW + "topos = {'one': Row, 'two': Row}\n")
    with pytest.raises(PlanError) as caught:
        plan_shell(str(path), {})
    assert str(caught.value) == f"{path} has the topologies one, two; say which: {path}:NAME"
