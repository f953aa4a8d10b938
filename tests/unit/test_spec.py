# SPDX-License-Identifier: Apache-2.0
"""Experiment files: what they mean, and what is said of those that are wrong.

A new fault is a new pair of files in tests/data/specs/invalid and needs no code here.
"""

import typing
from pathlib import Path

import pydantic
import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from testbed.errors import SpecError
from testbed.spec.load import load_spec, parse_spec
from testbed.spec.model import ExperimentSpec
from tests.unit.odd_texts import odd_texts

SPECS = Path(__file__).parents[1] / "data" / "specs"
EXPERIMENTS = Path(__file__).parents[2] / "experiments"
VALID = (SPECS / "valid.yaml").read_text()
FAULTS = sorted(path.stem for path in (SPECS / "invalid").iterdir())


@pytest.mark.parametrize("fault", dict.fromkeys(FAULTS))
def test_fault_is_named(fault, monkeypatch):
    monkeypatch.chdir(SPECS / "invalid")
    with pytest.raises(SpecError) as caught:
        load_spec(Path(f"{fault}.yaml"))
    assert f"{caught.value}\n" == Path(f"{fault}.txt").read_text()


@pytest.mark.parametrize("path", [*EXPERIMENTS.glob("*.yaml"), SPECS / "valid.yaml"], ids=str)
def test_experiment_loads(path):
    assert load_spec(path).name


def test_quantities_are_in_si_units():
    spec = load_spec(SPECS / "valid.yaml")
    assert (spec.duration, spec.seed, spec.workload.size) == (60, 1, 10_000_000)
    assert (spec.links["wifi"].rate, spec.links["wifi"].queue) == (8_000_000, {"bytes": 80_000})
    assert (spec.links["3g"].rate, spec.links["3g"].one_way_delay) == (2_000_000, 0.075)
    assert (spec.ride.dwell, spec.ride.detection) == ((5, 5), 0.5)


def test_what_is_not_said_has_a_default():
    spec = load_spec(SPECS / "valid.yaml")
    assert (spec.mptcp.path_manager, spec.mptcp.scheduler) == ("kernel", "default")
    assert (spec.mptcp.endpoints, spec.mptcp.stale_loss_count) == ({}, 4)
    assert (spec.mptcp.limits.subflows, spec.mptcp.limits.add_addr_accepted) == (8, 8)
    assert spec.tcp.congestion_control == "cubic"
    assert (spec.collectors.ss_interval, spec.collectors.captures) == (0.1, None)
    assert (spec.links["wifi"].loss, spec.links["wifi"].trace) == (None, None)
    assert (spec.mode, spec.events, spec.repetitions) == (None, [], 1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("80 KB", {"bytes": 80_000}),
        ("80 KiB", {"bytes": 81_920}),
        ("50 packets", {"bytes": 75_000}),
        ("1 packet", {"bytes": 1500}),
        ("2 s", {"seconds": 2}),
        ("200 ms", {"seconds": 0.2}),
    ],
)
def test_queue_in_bytes_packets_or_time(text, expected):
    spec = parse_spec(VALID, "f", {"links.3g.queue": text})
    assert spec.links["3g"].queue == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("20 s .. 40 s", (20, 40)), ("1 min..90 s", (60, 90)), ("20 s", (20, 20))],
)
def test_range_of_times(text, expected):
    assert parse_spec(VALID, "f", {"ride.tunnel": text}).ride.tunnel == expected


@pytest.mark.parametrize(("value", "expected"), [("1 .. 3", (1, 3)), (2, (2, 2)), ("0", (0, 0))])
def test_range_of_counts(value, expected):
    assert parse_spec(VALID, "f", {"ride.fades": value}).ride.fades == expected


EVENTS = """\
events:
  - {at: 0 s, change: link_down, link: wifi}
  - {at: 1 s, change: link_up, link: wifi}
  - {at: 2 s, change: rate, link: 3g, direction: up, rate: 1 Mbit/s}
  - {at: 3 s, change: delay, link: 3g, one_way_delay: 20 ms}
  - {at: 4 s, change: loss, link: 3g, direction: down, loss: 0.01}
  - {at: 5 s, change: queue, link: 3g, queue: 50 packets}
  - {at: 6 s, change: address_gone, path: wifi}
  - {at: 7 s, change: address_back, path: wifi}
  - {at: 8 s, change: endpoint_add, path: 3g}
  - {at: 9 s, change: endpoint_remove, path: 3g}
  - {at: 10 s, change: endpoint_backup, path: 3g, backup: false}
"""


def test_every_kind_of_event():
    events = parse_spec(VALID + EVENTS, "f", {}).events
    (kinds,) = typing.get_args(ExperimentSpec.model_fields["events"].annotation)
    assert {type(event) for event in events} == set(typing.get_args(typing.get_args(kinds)[0]))
    assert [event.at for event in events] == list(range(11))
    assert (events[2].direction, events[3].direction) == ("up", "both")
    assert (events[2].rate, events[3].one_way_delay, events[4].loss) == (1_000_000, 0.02, 0.01)
    assert events[5].queue == {"bytes": 75_000}
    assert (events[8].flags, events[10].backup) == (["subflow"], False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{name: download, size: 3 MB}", {"size": 3_000_000}),
        ("{name: bulk}", {"flows": 1, "direction": "down", "size": None, "duration": None}),
        (
            "{name: bulk, flows: 4, direction: up, size: 1 MB, start: 1 s, stagger: 500 ms}",
            {"flows": 4, "direction": "up", "size": 1_000_000, "start": 1, "stagger": 0.5},
        ),
        (
            "{name: bulk, duration: 5 s, block: 64 B, rate: 1 Mbit/s}",
            {"duration": 5, "block": 64, "rate": 1_000_000},
        ),
        ("{name: iperf3, streams: 2, duration: 9 s}", {"streams": 2, "duration": 9, "size": None}),
    ],
)
def test_every_kind_of_workload(text, expected):
    spec = parse_spec(VALID.replace(VALID.splitlines()[-1], f"workload: {text}"), "f", {})
    assert expected.items() <= spec.workload.model_dump().items()


def test_topology_and_trace_by_name_or_as_a_section():
    spec = parse_spec(VALID, "f", {"topology": {"name": "underground", "parameters": {"a": 1}}})
    assert (spec.topology_name, spec.topology_parameters) == ("underground", {"a": 1})
    plain = parse_spec(VALID, "f", {"links.3g.trace": "bus.down"})
    assert (plain.topology_name, plain.topology_parameters) == ("underground", {})
    assert plain.links["3g"].trace == "bus.down"
    section = {"file": "bus.down", "loop": False, "offset": "1 min"}
    trace = parse_spec(VALID, "f", {"links.3g.down.trace": section}).links["3g"].down.trace
    assert (trace.file, trace.loop, trace.offset) == ("bus.down", False, 60)


def test_spec_cannot_be_changed():
    spec = load_spec(SPECS / "valid.yaml")
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        spec.seed = 2


def test_override_replaces_a_value():
    spec = parse_spec(VALID, "f", {"workload.size": "1 KB", "seed": 7})
    assert (spec.workload.size, spec.seed, spec.name) == (1000, 7, "offload")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("workload.size", "1 s", 'workload.size: "1 s" is not a quantity with one of the units '),
        ("workload.sizee", "1 MB", 'workload.sizee: unknown key (did you mean "size"?)'),
        ("workloads.size", "1 MB", 'workloads: unknown key (did you mean "workload"?)'),
        ("ride", 5, "ride: this must be a mapping of keys to values"),
        ("mptcp.limits.subflows", "many", "mptcp.limits.subflows: input should be a valid integer"),
    ],
)
def test_override_is_checked_too(key, value, said):
    """What is wrong with it has no line of the file, but the key of the command line."""
    with pytest.raises(SpecError) as caught:
        parse_spec(VALID, "f", {key: value})
    assert str(caught.value).startswith(f"f: {said}")
    assert str(caught.value).endswith(f" (as given on the command line: {key})")


def test_override_of_an_element_and_of_a_section_that_is_not_there():
    spec = parse_spec(VALID + EVENTS, "f", {"events.2.rate": "3 Mbit/s", "tcp.send_buffer": "1 MB"})
    assert (spec.events[2].rate, spec.tcp.send_buffer) == (3_000_000, 1_000_000)


@pytest.mark.parametrize("section", ["", "workload:", "workload: 3", "workload: [1]"])
def test_override_does_not_hide_a_broken_section(section):
    text = VALID.replace("workload: {name: download, size: 10 MB}", section)
    with pytest.raises(SpecError, match="workload"):
        parse_spec(text, "f", {"workload.size": "1 KB"})


def test_alias_is_the_same_section_again():
    text = VALID.replace("wifi: {", "wifi: &link {").replace(
        "3g: {rate: 2 Mbit/s, one_way_delay: 75 ms, queue: 500 KB}", "3g: *link"
    )
    spec = parse_spec(text, "f", {})
    assert spec.links["3g"] == spec.links["wifi"]


def test_override_of_an_alias_leaves_the_other_section():
    text = VALID.replace("wifi: {", "wifi: &link {").replace(
        "3g: {rate: 2 Mbit/s, one_way_delay: 75 ms, queue: 500 KB}", "3g: *link"
    )
    spec = parse_spec(text, "f", {"links.3g.rate": "1 Mbit/s"})
    assert (spec.links["3g"].rate, spec.links["wifi"].rate) == (1_000_000, 8_000_000)


def test_merged_section_may_replace_keys():
    text = VALID.replace("wifi: {", "wifi: &link {").replace(
        "3g: {rate: 2 Mbit/s, one_way_delay: 75 ms, queue: 500 KB}", "3g: {<<: *link, loss: 0.5}"
    )
    assert parse_spec(text, "f", {}).links["3g"].loss == 0.5


def test_aliases_of_aliases_take_no_time():
    """Ten sections with ten aliases each are read once, not ten thousand million times."""
    sections = [f"k{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 11)]
    with pytest.raises(SpecError, match="f:1: k0: unknown key"):
        parse_spec("\n".join(["k0: &a0 x", *sections, VALID]), "f", {})


def test_deep_nesting_is_refused():
    with pytest.raises(SpecError, match="^f:1: the file is nested too deeply$"):
        parse_spec("a: " + "[" * 1000, "f", {})


def test_file_that_cannot_be_read(tmp_path):
    with pytest.raises(SpecError) as caught:
        load_spec(tmp_path / "none.yaml")
    assert str(caught.value) == (
        f"{tmp_path}/none.yaml: the experiment cannot be read: no such file or directory"
    )


def test_file_that_is_no_text(tmp_path):
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match="x.yaml: this is not an experiment file: it is not text$"):
        load_spec(tmp_path / "x.yaml")


@pytest.mark.parametrize(
    "value",
    ["!!int ''", "!!int x", "!!bool x", "!!float x", "!!timestamp x", "!!binary x", "!!set [1]",
     "!!omap 1", "0b_", "0x_", "2026-13-01", "2026-01-01 25:00:00", "!!python/object:os.system x"],
)  # fmt: skip
def test_value_that_yaml_cannot_make(value):
    """What looks or is declared like something else is refused with its line."""
    with pytest.raises(SpecError, match="^f:6: "):
        parse_spec(VALID.replace("seed: 1", f"seed: {value}"), "f", {})


def loads_or_is_refused(text):
    try:
        assert isinstance(parse_spec(text, "f", {}), ExperimentSpec)
    except SpecError as error:
        lines = str(error).splitlines()
        assert all(line.startswith("f:") for line in lines)


@given(odd_texts(60))
@example("\ud800")
@example("a: \x00")
@example("? {a: 1}\n: 2")
def test_any_text_loads_or_is_refused(text):
    loads_or_is_refused(text)


@given(st.text(alphabet="ab01:_.-+~<{}[]&*!?|>'\"\n\t ,#%@", max_size=30))
def test_any_yaml_loads_or_is_refused(text):
    loads_or_is_refused(text)


@given(st.integers(0, len(VALID)), st.integers(0, 12), odd_texts(8))
def test_any_change_of_a_valid_file_loads_or_is_refused(at, removed, added):
    loads_or_is_refused(VALID[:at] + added + VALID[at + removed :])


KEYS = st.sampled_from(
    [
        *ExperimentSpec.model_fields,
        "schema",
        "3g",
        "wifi",
        "size",
        "name",
        "limits",
        "change",
        "rate",
    ]
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    odd_texts(5),
    st.dates(),
    st.binary(max_size=3),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | SCALARS, inner, max_size=4),
    max_leaves=8,
)


@given(st.dictionaries(KEYS | SCALARS, VALUES, max_size=6))
def test_any_mapping_is_refused(mapping):
    loads_or_is_refused(yaml.safe_dump(mapping))


SECTIONS = [*yaml.safe_load(VALID), "matrix", "events", "mptcp", "tcp", "collectors"]


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(SECTIONS, VALUES)))
def test_any_value_in_a_valid_file_loads_or_is_refused(changes):
    loads_or_is_refused(yaml.safe_dump({**yaml.safe_load(VALID), **changes}))
