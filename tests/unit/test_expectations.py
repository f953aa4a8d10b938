# SPDX-License-Identifier: Apache-2.0
"""An experiment that says what it expects is a test: it is met, missed, or not asked."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from analysis.expectations import check_numbers, judge_expectations
from analysis.overview import write_overview
from analysis.runs import read_results
from testbed.cli.main import testbed as root_command
from testbed.errors import PlanError, SpecError
from testbed.plan.expect import plan_expectations
from testbed.spec.expect import parse_bounds
from testbed.spec.load import parse_experiment
from tests.unit.overview_synthetic import Run, modes, write_results

VALID = (Path(__file__).parents[1] / "data" / "specs" / "valid.yaml").read_text()
MATRIX = {"mode": ["tcp-wifi", "mptcp-full"], "links.wifi.rate": ["4 Mbit/s", "8 Mbit/s"]}


def experiment(*expect, **more):
    overrides = {"matrix": dict(MATRIX), "expect": list(expect), **more}
    return parse_experiment(VALID, "valid.yaml", overrides)


def planned(*expect, **more):
    return plan_expectations(experiment(*expect, **more), is_strict=True)


@pytest.mark.parametrize(
    ("text", "low", "high", "is_strict"),
    [
        ("> 8", 8.0, None, True),
        (">=8.5", 8.5, None, False),
        ("< 1e3", None, 1000.0, True),
        ("<=  -2", None, -2.0, False),
        ("0.45 .. 0.55", 0.45, 0.55, False),
    ],
)
def test_comparisons(text, low, high, is_strict):
    assert parse_bounds(text)[1:] == (low, high, is_strict)


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (8, 'write a comparison in quotes, such as "> 8" or "8 .. 10"'),
        ("8", '"8" is not a comparison; write it as "> 8", "<= 0.5" or "8 .. 10"'),
        ("> 8 Mbit/s", '"> 8 Mbit/s" is not a comparison'),
        ("3 .. 1", '"3 .. 1" ends below its beginning; write the smaller value first'),
    ],
)
def test_what_is_no_comparison(said, sentence):
    with pytest.raises(SpecError) as caught:
        experiment({"number": "goodput_mbps", "is": said})
    assert f"expect.0.is: {sentence}" in str(caught.value)


def test_an_expectation_is_about_every_cell_that_is_meant():
    every = planned({"number": "goodput_mbps", "is": "> 1"})
    some = planned(
        {"number": "goodput_mbps", "is": "> 1", "where": {"links.wifi.rate": "8 Mbit/s"}}
    )

    assert len(every) == 4
    assert [one["cell"]["mode"] for one in some] == ["tcp-wifi", "mptcp-full"]
    assert {one["cell"]["links.wifi.rate"] for one in some} == {"8 Mbit/s"}


def test_a_relative_one_is_about_pairs_of_cells():
    [first, second] = planned(
        {"number": "goodput_mbps", "is": ">= 1", "where": {"mode": "mptcp-full"},
         "relative_to": {"mode": "tcp-wifi"}}
    )  # fmt: skip
    assert first["base"] == {**first["cell"], "mode": "tcp-wifi"}
    assert second["base"] == {**second["cell"], "mode": "tcp-wifi"} != first["base"]


def test_what_the_command_line_sets_counts_as_the_cells():
    """So that `--set mode=mptcp-full` leaves those expectations that are about it."""
    about = {"number": "goodput_mbps", "is": "> 1", "where": {"mode": "mptcp-full"}}
    assert len(planned(about, mode="mptcp-full")) == 2
    [one] = plan_expectations(experiment(about, mode="tcp-wifi"))
    assert one["cell"] is None


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ({"mod": "x"}, 'expect.0: the experiment neither varies nor sets "mod" '
                       '(did you mean "mode"?)'),
        ({"mode": "mptcp-ful"}, "expect.0: no cell of the experiment is meant; see where, "
                                "relative_to"),
    ],
)  # fmt: skip
def test_one_that_is_about_nothing_is_refused(where, said):
    with pytest.raises(PlanError) as caught:
        planned({"number": "goodput_mbps", "is": "> 1", "where": where})
    assert str(caught.value) == said


def test_a_number_that_no_run_has_is_refused():
    check_numbers(planned({"number": "bytes_3g", "is": "> 1"}), ["wifi", "3g"])
    with pytest.raises(PlanError, match=r'"goodput_mpbs" \(did you mean "goodput_mbps"\?\)'):
        check_numbers(planned({"number": "goodput_mpbs", "is": "> 1"}), [])


def expected(number="goodput_mbps", is_="> 3", of="median", mode="mptcp-full", base=None):
    spec = {"number": number, "is": is_, "of": of, "where": {"mode": mode}}
    base_spec = {"relative_to": {"mode": base}} if base else {}
    matrix = {"mode": ["tcp-wifi", "tcp-3g", "mptcp-full"]}
    overrides = {"matrix": matrix, "expect": [{**spec, **base_spec}]}
    return plan_expectations(parse_experiment(VALID, "f", overrides))


@pytest.fixture
def results(tmp_path):
    """Two runs of each of two modes, and one that is no data point."""
    runs = [
        Run({"mode": "mptcp-full"}, 1, mbps=6.0), Run({"mode": "mptcp-full"}, 2, mbps=4.0),
        Run({"mode": "tcp-wifi"}, 1, mbps=2.0), *modes("tcp-3g", verdict="invalid", mbps=40.0),
    ]  # fmt: skip
    return write_results(tmp_path / "r", runs)


def expect(results, *plain):
    plan = json.loads((results / "plan.json").read_text())
    (results / "plan.json").write_text(json.dumps({**plan, "expect": plain}))
    return judge_expectations(read_results(results))


@pytest.mark.parametrize(
    ("asked", "status", "value"),
    [
        (expected(), "met", 5.0),
        (expected(is_="> 5"), "not met", 5.0),
        (expected(is_=">= 5"), "met", 5.0),
        (expected(of="least", is_="> 5"), "not met", 4.0),
        (expected(of="greatest", is_="6 .. 6"), "met", 6.0),
        (expected(is_="2.4 .. 2.6", base="tcp-wifi"), "met", 2.5),
        (expected(mode="tcp-3g", is_="> 1"), "not met", None),
        (expected(is_="> 1", base="tcp-3g"), "not met", None),
        (expected(number="bytes_wifi", is_="> 1"), "met", 1562500.0),
        (expected(number="retransmitted_bytes", is_="> 1"), "not met", None),
    ],
)
def test_what_was_measured_decides(results, asked, status, value):
    """And what could not be measured, or only in runs that are no data points, is not met."""
    [outcome] = expect(results, *asked)
    assert (outcome.status, outcome.value) == (status, value)


def test_sentences(results):
    outcomes = expect(
        results,
        *expected(of="least", base="tcp-wifi"),
        *expected(mode="tcp-3g"),
        {**expected()[0], "cell": None},
    )
    assert [outcome.sentence for outcome in outcomes] == [
        "least goodput_mbps of mode mptcp-full over that of mode tcp-wifi is 2, expected > 3",
        "goodput_mbps of mode tcp-3g could not be measured, expected > 3",
        "goodput_mbps: no cell of this call is meant (mode mptcp-full)",
    ]
    assert [outcome.status for outcome in outcomes] == ["not met", "not met", "not judged"]


def analyze(results, *options):
    return CliRunner().invoke(root_command, ["analyze", str(results), *options])


def test_the_exit_status_and_the_page_tell(tmp_path):
    results = write_results(tmp_path / "r", modes("mptcp-full", mbps=6.0))
    expect(results, *expected(is_="> 5"))
    met = analyze(results)
    expect(results, *expected(is_="> 7"))
    missed = analyze(results)
    write_overview(results)

    assert (met.exit_code, missed.exit_code) == (0, 1)
    sentence = "goodput_mbps of mode mptcp-full is 6, expected > 7"
    assert f"not met    {sentence}" in missed.output
    page = (results / "report.html").read_text()
    assert sentence.replace(">", "&gt;") in page
    assert '<span class="badge invalid">not met</span>' in page


def test_junit(results):
    expect(results, *expected(), *expected(is_="< 1"), {**expected()[0], "cell": None})
    done = analyze(results, "--junit")
    suite = ElementTree.fromstring(done.stdout)
    cases = {case.get("name"): [child.tag for child in case] for case in suite}

    assert done.exit_code == 1
    counts = {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "7", "failures": "2", "errors": "0", "skipped": "1"}
    assert cases["mode=mptcp-full/rep01"] == []
    assert cases["mode=tcp-3g/rep01"] == ["failure"]
    assert cases["goodput_mbps > 3 mode mptcp-full"] == []
    assert cases["goodput_mbps < 1 mode mptcp-full"] == ["failure"]
    assert "for the test <b>invalid</b>" in suite.findtext("testcase/failure")


def test_a_run_that_failed_is_an_error_to_junit(tmp_path):
    results = write_results(tmp_path / "r", [
        Run({"mode": "a"}, status="failed", has_data=False),
        Run({"mode": "b"}, status="not started"),
    ])  # fmt: skip
    suite = ElementTree.fromstring(analyze(results, "--junit").stdout)

    assert [child.tag for case in suite for child in case] == ["error", "skipped"]
    assert "the target died" in suite.findtext("testcase/error")


def test_validate_refuses_what_could_never_be_met(tmp_path):
    file = tmp_path / "f.yaml"
    file.write_text(VALID + "expect: [{number: goodput, is: '> 1'}]\n")
    done = CliRunner().invoke(root_command, ["validate", str(file)])

    assert done.exit_code == 2
    assert 'expect: no run has the number "goodput"' in done.output
