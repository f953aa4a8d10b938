# SPDX-License-Identifier: Apache-2.0
"""The matrix of an experiment file: its cells and what replaces them."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.errors import SpecError
from testbed.spec.load import parse_experiment
from testbed.spec.matrix import value_text
from testbed.spec.write import spec_text

VALID = (Path(__file__).parents[1] / "data" / "specs" / "valid.yaml").read_text()


def experiment(matrix, overrides=None):
    return parse_experiment(f"{VALID}matrix: {matrix}\n", "f", overrides or {})


def varied(experiment):
    return [cell.varied for cell in experiment.cells]


def test_without_a_matrix_there_is_one_cell():
    one = parse_experiment(VALID, "f", {})
    assert varied(one) == [{}]
    assert one.cells[0].spec == one.spec
    assert varied(experiment("{}")) == [{}]


def test_every_combination_is_a_cell_and_the_last_key_varies_fastest():
    cells = experiment("{mode: [tcp-wifi, mptcp-full], links.3g.queue: [1 s, 50 packets]}").cells
    assert [(cell.varied["mode"], cell.varied["links.3g.queue"]) for cell in cells] == [
        ("tcp-wifi", "1 s"),
        ("tcp-wifi", "50 packets"),
        ("mptcp-full", "1 s"),
        ("mptcp-full", "50 packets"),
    ]
    assert [(cell.spec.mode, cell.spec.links["3g"].queue) for cell in cells] == [
        ("tcp-wifi", {"seconds": 1}),
        ("tcp-wifi", {"bytes": 75_000}),
        ("mptcp-full", {"seconds": 1}),
        ("mptcp-full", {"bytes": 75_000}),
    ]
    assert {cell.spec.links["3g"].rate for cell in cells} == {2_000_000}


LOSSES = st.lists(
    st.integers(0, 99).map(lambda n: n / 100), min_size=1, max_size=4, unique=True
).map(sorted)


@given(LOSSES, LOSSES, LOSSES)
def test_number_and_order_of_cells(first, second, third):
    """As many cells as combinations, no two alike, in the order of counting."""
    keys = ("links.3g.loss", "links.wifi.loss", "ride.variation")
    values = json.dumps(dict(zip(keys, (first, second, third), strict=True)))
    cells = [tuple(map(float, cell.values())) for cell in varied(experiment(values))]
    assert cells == sorted(set(cells))
    assert len(cells) == len(first) * len(second) * len(third)


def test_whole_sections_may_be_varied():
    cells = experiment("{workload: [{name: download, size: 1 MB}, {name: bulk}]}").cells
    assert [cell.spec.workload.name for cell in cells] == ["download", "bulk"]
    assert [cell.varied["workload"] for cell in cells] == ["name=download size=1 MB", "name=bulk"]


def test_override_of_a_varied_key_replaces_its_values():
    one = experiment("{mode: [tcp-wifi, mptcp-full]}", {"mode": "tcp-3g"})
    assert varied(one) == [{}]
    assert one.cells[0].spec.mode == "tcp-3g"


def test_override_below_a_varied_section_holds_in_every_cell():
    one = experiment(
        "{workload: [{name: download, size: 1 MB}, {name: bulk, size: 2 MB}]}",
        {"workload.size": "3 MB"},
    )
    assert [cell.spec.workload.size for cell in one.cells] == [3_000_000, 3_000_000]
    assert len(varied(one)) == 2


def test_override_above_a_varied_key_leaves_it_varied():
    one = experiment("{ride.tunnel: [5 s, 9 s]}", {"ride": {"dwell": "7 s"}})
    assert [cell.spec.ride.tunnel for cell in one.cells] == [(5, 5), (9, 9)]
    assert {cell.spec.ride.dwell for cell in one.cells} == {(7, 7)}


def test_override_of_the_values_themselves():
    one = experiment("{mode: [tcp-wifi, mptcp-full]}", {"matrix.mode": ["tcp-3g", "mptcp-single"]})
    assert [cell.spec.mode for cell in one.cells] == ["tcp-3g", "mptcp-single"]


def test_cells_of_an_alias_leave_the_other_section():
    text = VALID.replace("wifi: {", "wifi: &link {").replace(
        "3g: {rate: 2 Mbit/s, one_way_delay: 75 ms, queue: 500 KB}", "3g: *link"
    )
    cells = parse_experiment(
        f"{text}matrix: {{links.3g.rate: [1 Mbit/s, 2 Mbit/s]}}", "f", {}
    ).cells
    assert [cell.spec.links["3g"].rate for cell in cells] == [1_000_000, 2_000_000]
    assert {cell.spec.links["wifi"].rate for cell in cells} == {8_000_000}


def test_every_wrong_value_is_named_once():
    """Also where another key is varied around it."""
    with pytest.raises(SpecError) as caught:
        experiment("{mode: [a, b], workload.size: [1 MB, 1 s, 2 s]}")
    first, second = str(caught.value).splitlines()
    assert first.startswith('f:12: matrix: workload.size: "1 s" is not')
    assert second.startswith('f:12: matrix: workload.size: "2 s" is not')


def test_values_that_lie_within_themselves_end():
    with pytest.raises(SpecError):
        experiment("{mode: &again [*again]}")


def test_aliases_of_aliases_take_no_time():
    lists = [f"&a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    text = f"{{mode: [&a0 x, {', '.join(lists)}]}}"
    with pytest.raises(SpecError):
        experiment(text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (False, "false"),
        (0.5, "0.5"),
        ("1 s", "1 s"),
        (["subflow", "backup"], "subflow backup"),
        ({"name": "bulk", "size": "1 MB"}, "name=bulk size=1 MB"),
        ({"flags": ["a", "b"]}, "flags=a b"),
        ([], ""),
    ],
)
def test_text_of_a_value(value, text):
    assert value_text(value) == text


@pytest.mark.parametrize(
    "overrides",
    [{}, {"seed": 9, "workload.size": "3 MB"}, {"mode": "tcp-3g"}, {"links.3g.queue": "9 packets"}],
)
def test_what_is_written_down_is_the_same_experiment_again(overrides):
    one = experiment("{mode: [tcp-wifi, mptcp-full], links.3g.queue: [1 s, 2 s]}", overrides)
    again = parse_experiment(spec_text(one, None, None), "spec.yaml", {})
    assert again.cells == one.cells


def test_kept_file_says_what_was_carried_out_instead():
    one = parse_experiment(VALID, "valid.yaml", {})
    again = parse_experiment(spec_text(one, 7, 3), "spec.yaml", {})
    assert (again.spec.seed, again.spec.repetitions) == (7, 3)


def test_kept_file_finds_its_traces_from_elsewhere(tmp_path):
    overrides = {
        "links.wifi.trace": "a.down",
        "links.3g.up": {"trace": {"file": "b.csv", "loop": False}},
    }
    one = parse_experiment(VALID, "valid.yaml", overrides, tmp_path)
    again = parse_experiment(spec_text(one, None, None), "spec.yaml", {})
    assert again.spec.links["wifi"].trace == str(tmp_path / "a.down")
    assert again.spec.links["3g"].up.trace.file == str(tmp_path / "b.csv")
