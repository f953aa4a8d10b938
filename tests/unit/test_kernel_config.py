# SPDX-License-Identifier: Apache-2.0
import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.lab.kernel import find_additions
from testbed.lab.kernel_config import join_fragments, missing_symbols, parse_config

NAMES = st.from_regex(r"CONFIG_[A-Z0-9_]{1,8}", fullmatch=True)
VALUES = st.sampled_from(["y", "n", "1000", '"text with = and spaces"'])
CONFIGS = st.dictionaries(NAMES, VALUES, max_size=8)


def as_text(symbols: dict[str, str]) -> str:
    lines = [
        f"# {name} is not set" if value == "n" else f"{name}={value}"
        for name, value in symbols.items()
    ]
    return "\n".join(["# a comment", "", *lines, ""])


@given(CONFIGS)
def test_what_is_written_is_read(symbols):
    """A configuration is read as it was written."""
    assert parse_config(as_text(symbols)) == symbols


@given(wanted=CONFIGS, actual=CONFIGS)
def test_missing_is_exactly_what_differs(wanted, actual):
    """A wanted symbol is missing if and only if its value differs, absence being "n"."""
    expected = {name for name, value in wanted.items() if actual.get(name, "n") != value}
    missing = missing_symbols(as_text(wanted), as_text(actual))
    assert {line.partition("=")[0] for line in missing} == expected


@given(earlier=CONFIGS, later=CONFIGS)
def test_later_fragments_override(earlier, later):
    """Joined fragments mean what the later one says, and else what the earlier one says."""
    joined = join_fragments([as_text(earlier), as_text(later)])
    assert parse_config(joined) == {**earlier, **later}


def test_symbol_dropped_by_kconfig_is_named():
    """A symbol whose dependency is not set vanishes from .config and is reported with its value."""
    wanted = "CONFIG_NET=y\nCONFIG_VETH=y\nCONFIG_HZ=1000\n"
    actual = "CONFIG_NET=y\nCONFIG_HZ=100\n"
    assert missing_symbols(wanted, actual) == ["CONFIG_HZ=1000", "CONFIG_VETH=y"]


def test_absent_symbol_counts_as_not_set():
    """A symbol that is wanted "not set" may be unknown to the kernel."""
    assert missing_symbols("# CONFIG_MODULES is not set\n", "CONFIG_NET=y\n") == []


def test_built_in_is_not_module():
    """A kernel without a module loader needs "y": "m" is missing."""
    assert missing_symbols("CONFIG_MPTCP=y\n", "CONFIG_MPTCP=m\n") == ["CONFIG_MPTCP=y"]


def test_our_fragments_do_not_contradict_each_other():
    """No symbol is wanted with two values by the fragments in kernel/config."""
    wanted: dict[str, str] = {}
    for path in find_additions().fragments:
        for name, value in parse_config(path.read_text()).items():
            assert wanted.setdefault(name, value) == value, f"{path.name}: {name}"


@pytest.mark.parametrize("symbol", ["CONFIG_MPTCP", "CONFIG_UML_TIME_TRAVEL_SUPPORT"])
def test_our_fragments_want_the_essentials(symbol):
    """What the project stands for is asked for."""
    texts = [path.read_text() for path in find_additions().fragments]
    assert parse_config(join_fragments(texts))[symbol] == "y"
