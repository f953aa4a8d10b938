# SPDX-License-Identifier: Apache-2.0
"""Experiment files: what they mean, and what is said of those that are wrong.

A new fault is a new pair of files in tests/data/specs/invalid and needs no code here.
"""

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
    assert (spec.links.wifi.rate, spec.links.wifi.queue) == (8_000_000, 80_000)
    assert (spec.links.cell.rate, spec.links.cell.one_way_delay) == (2_000_000, 0.075)
    assert (spec.ride.dwell, spec.ride.detection) == (5, 0.5)


def test_what_is_not_said_has_a_default():
    spec = load_spec(SPECS / "valid.yaml")
    assert (spec.mptcp.path_manager, spec.mptcp.scheduler) == ("kernel", "default")
    assert spec.mptcp.endpoint_flags == ["subflow"]
    assert (spec.mptcp.limits.subflows, spec.mptcp.limits.add_addr_accepted) == (8, 8)
    assert spec.collectors.ss_interval == 0.1
    assert spec.links.wifi.loss == 0


def test_spec_cannot_be_changed():
    spec = load_spec(SPECS / "valid.yaml")
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        spec.seed = 2


def test_override_replaces_a_value():
    spec = parse_spec(VALID, "f", {"workload.size": "1 KB", "seed": 7})
    assert (spec.workload.size, spec.seed, spec.name) == (1000, 7, "offload")


def test_override_is_checked_too():
    with pytest.raises(SpecError, match='^f:11: workload.size: "1 s" is not a quantity'):
        parse_spec(VALID, "f", {"workload.size": "1 s"})


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
    assert spec.links.cell == spec.links.wifi


def test_merged_section_may_replace_keys():
    text = VALID.replace("wifi: {", "wifi: &link {").replace(
        "3g: {rate: 2 Mbit/s, one_way_delay: 75 ms, queue: 500 KB}", "3g: {<<: *link, loss: 0.5}"
    )
    assert parse_spec(text, "f", {}).links.cell.loss == 0.5


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


KEYS = st.sampled_from([*ExperimentSpec.model_fields, "3g", "wifi", "size", "name", "limits"])
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


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(yaml.safe_load(VALID), VALUES)))
def test_any_value_in_a_valid_file_loads_or_is_refused(changes):
    loads_or_is_refused(yaml.safe_dump({**yaml.safe_load(VALID), **changes}))
