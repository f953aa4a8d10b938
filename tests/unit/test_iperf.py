# SPDX-License-Identifier: Apache-2.0
"""iperf3 and iperf 2: which is used, how it is called, and what its report says."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.parse.iperf import PARSERS, Interval, parse_iperf2, parse_iperf3
from testbed.errors import PrerequisiteError, RunInvalid
from testbed.workloads.iperf3 import Tool, choose_tool, client_argv, client_error, server_argv

DATA = Path(__file__).parents[1] / "data/iperf"
IPERF3 = Tool("iperf3", "iperf3 3.18")
IPERF2 = Tool("iperf", "iperf 2.1.8 instead of iperf3 3.12, which polls the clock")
PLAN = {
    "name": "iperf3",
    "client": "laptop",
    "server": "server",
    "address": "10.0.6.2",
    "port": 5201,
    "source_address": None,
    "duration_s": 2.5,
    "size_bytes": None,
    "direction": "up",
    "streams": 1,
    "transport": "tcp",
}


def recorded(name):
    return (DATA / name).read_text()


def version(name):
    return recorded(f"{name}-version.txt")


# Which tool


def test_an_iperf3_that_waits_in_the_kernel_is_used():
    tool = choose_tool(version("iperf3-3.18"), "", version("iperf-2.1.8"), has_size=False)

    assert tool == Tool("iperf3", "iperf3 3.18", has_mptcp=False)


def test_an_option_for_mptcp_is_looked_for_in_the_help_and_not_in_the_version():
    tool = choose_tool("iperf 3.17\n", "  -m, --mptcp  use MPTCP", "", has_size=False)

    assert tool.has_mptcp
    assert not choose_tool("iperf 3.21\n", "-M, --set-mss", "", has_size=False).has_mptcp


@pytest.mark.parametrize(
    ("iperf3", "has_size", "reason"),
    [
        (version("iperf3-3.12"), False, "iperf3 3.12, which polls the clock"),
        ("iperf 3.9 (cJSON 1.7.13)", False, "iperf3 3.9, which polls the clock"),
        (
            version("iperf3-3.18"),
            True,
            "iperf3 3.18, which does not end in virtual time when given a size",
        ),
        ("", False, "iperf3, which is missing"),
    ],
)
def test_iperf_2_stands_in_and_the_result_says_why(iperf3, has_size, reason):
    tool = choose_tool(iperf3, "", version("iperf-2.1.8"), has_size=has_size)

    assert tool == Tool("iperf", f"iperf 2.1.8 instead of {reason}")
    with pytest.raises(PrerequisiteError, match=f"{reason}; install with 'apt-get install iperf'"):
        choose_tool(iperf3, "", "", has_size=has_size)


def test_an_iperf_2_without_reverse_will_not_do():
    with pytest.raises(PrerequisiteError, match="this machine has no iperf 2"):
        choose_tool("", "", "iperf version 2.0.13 (21 Jan 2019) pthreads", has_size=False)


# Commands


def test_the_commands_of_iperf3():
    assert server_argv(IPERF3, PLAN) == [
        *["iperf3", "--server", "-4", "--one-off", "--json"],
        *["--interval", "1", "--port", "5201"],
    ]
    assert client_argv(IPERF3, {**PLAN, "direction": "down", "streams": 3}) == [
        *["iperf3", "--client", "10.0.6.2", "-4", "--json", "--interval", "1", "--port", "5201"],
        *["--parallel", "3", "--time", "3", "--reverse"],
    ]


def test_the_commands_of_iperf_2():
    plan = {**PLAN, "source_address": "10.0.1.2", "streams": 2}

    assert server_argv(IPERF2, PLAN) == [
        *["iperf", "--server", "--reportstyle", "C", "--interval", "1", "--port", "5201"]
    ]
    assert client_argv(IPERF2, plan) == [
        *["iperf", "--client", "10.0.6.2", "--reportstyle", "C", "--interval", "1"],
        *["--port", "5201", "--parallel", "2", "--time", "2.5", "--bind", "10.0.1.2"],
    ]


def test_a_size_is_that_of_all_streams():
    argv = client_argv(IPERF2, {**PLAN, "size_bytes": 3_000_000, "streams": 3})

    assert argv[argv.index("--num") + 1] == "1000000"
    assert "--time" not in argv


def test_without_an_end_the_run_ends_it():
    for tool in (IPERF3, IPERF2):
        argv = client_argv(tool, {**PLAN, "duration_s": None})
        assert argv[argv.index("--time") + 1] == "86400"


def test_mptcp_is_an_option_where_there_is_one():
    plan = {**PLAN, "transport": "mptcp"}
    own = Tool("iperf3", "iperf3 3.19", has_mptcp=True)

    for argv in (server_argv, client_argv):
        assert argv(own, plan)[-1] == "--mptcp"
        assert argv(IPERF3, plan)[:3] == ["mptcpize", "run", "iperf3"]
        assert argv(IPERF2, plan)[:3] == ["mptcpize", "run", "iperf"]


# Reports


def test_what_iperf3_received():
    report = parse_iperf3(recorded("iperf3-3.18-down.json"))

    assert (report.version, report.error) == ("iperf 3.18", None)
    assert report.streams == (Interval(0, 0.0, 3.000885, 3_538_944),)
    assert report.goodput_mbps == pytest.approx(9.4344, abs=1e-4)
    assert [part.bytes for part in report.intervals] == [1_179_648, 1_179_648, 1_179_648]


def test_streams_of_iperf3_are_told_apart():
    report = parse_iperf3(recorded("iperf3-3.18-up-2-streams-mptcp.json"))

    assert [stream.stream for stream in report.streams] == [0, 1]
    assert {part.stream for part in report.intervals} == {0, 1}
    assert report.bytes == sum(stream.bytes for stream in report.streams) > 2_000_000
    assert report.error is None


def test_older_reports_of_iperf3_have_the_same_form():
    report = parse_iperf3(recorded("iperf3-3.12-up-loopback.json"))

    assert report.version == "iperf 3.12"
    assert report.goodput_mbps == pytest.approx(20, rel=0.1)


@pytest.mark.parametrize("release", ["3.12", "3.18"])
def test_what_iperf3_says_when_it_is_refused(release):
    text = recorded(f"iperf3-{release}-refused.json")
    report = parse_iperf3(text)

    assert report.error.endswith("Connection refused")
    assert (report.streams, report.goodput_mbps) == ((), None)
    assert client_error("iperf3", text, "") == report.error


def test_what_iperf_2_received():
    report = parse_iperf2(recorded("iperf-2.1.8-down.csv"))
    (stream,) = report.streams

    assert (stream.bytes, report.bytes) == (4_325_376, 4_325_376)
    # The rate is exact where the time is not.
    assert stream.end_s == pytest.approx(3.614, abs=1e-4)
    assert report.goodput_mbps == pytest.approx(9.574674)
    assert [part.end_s for part in report.intervals] == [1.0, 2.0, 3.0, 3.6]
    assert sum(part.bytes for part in report.intervals) == report.bytes


def test_streams_of_iperf_2_are_told_apart():
    report = parse_iperf2(recorded("iperf-2.1.8-up-2-streams-mptcp.csv"))

    assert [(s.stream, s.bytes) for s in report.streams] == [(0, 1_000_000), (1, 1_000_000)]
    assert report.seconds == pytest.approx(1.694, abs=1e-3)
    assert report.goodput_mbps == pytest.approx(9.444, abs=1e-3)
    assert len(report.intervals) == 4


def test_a_stream_of_iperf_2_may_have_one_line_only():
    report = parse_iperf2(recorded("iperf-2.1.8-down-short.csv"))

    assert report.bytes == 200_000
    assert report.intervals == (Interval(0, 0.0, 0.2, 200_000),)


def test_a_line_that_iperf_2_prints_twice_counts_once():
    line = "20231114221331,10.0.0.2,45376,10.1.0.2,5201,2,0.0-1.4,1000000,5735030\n"

    assert parse_iperf2(2 * line) == parse_iperf2(line)


def test_a_report_of_iperf_2_that_is_cut_off_is_the_sum_of_its_parts():
    lines = recorded("iperf-2.1.8-down.csv").splitlines()[:2]

    assert parse_iperf2("\n".join(lines)).streams == (Interval(0, 0.0, 2.0, 2_377_616),)


def test_iperf_2_exits_with_0_when_it_is_refused_and_has_no_report():
    said = recorded("iperf-2.1.8-refused.err")

    assert client_error("iperf", "", said) == (
        'iperf wrote no report: "tcp connect failed: Connection refused"'
    )
    assert client_error("iperf", recorded("iperf-2.1.8-down.csv"), "") is None
    assert client_error("iperf3", "", "boom") == 'iperf3 wrote no report: "boom"'
    assert parse_iperf2("").goodput_mbps is None


@pytest.mark.parametrize("program", PARSERS)
@given(text=st.text(max_size=200))
def test_any_text_is_a_report_or_invalid(program, text):
    try:
        report = PARSERS[program](text)
    except RunInvalid as error:
        assert "report of iperf" in str(error)
    else:
        assert report.bytes == sum(stream.bytes for stream in report.streams)


@given(cut=st.integers(1, 3000))
def test_a_report_of_iperf3_that_is_cut_off_is_invalid(cut):
    text = recorded("iperf3-3.18-down.json").rstrip()

    with pytest.raises(RunInvalid, match="a report of iperf3 is cut off"):
        parse_iperf3(text[:-cut])


def test_a_line_of_something_else_is_invalid():
    with pytest.raises(RunInvalid, match="'hello' is no line of a report of iperf 2"):
        parse_iperf2("hello\n")


def test_a_client_of_iperf3_that_the_run_ends_has_no_error():
    assert client_error("iperf3", '{"error": "interrupt - the client has terminated"}', "") is None
    assert client_error("iperf3", '{"end": {}}', "") is None
