# SPDX-License-Identifier: Apache-2.0
"""Say of runs and expectations what JUnit's XML says of tests, which every CI system reads."""

from collections.abc import Sequence
from xml.etree import ElementTree

from analysis.expectations import NOT_JUDGED, Outcome
from analysis.runs import NOT_STARTED, Results, RunRecord


def junit_text(results: Results, outcomes: Sequence[Outcome]) -> str:
    """Return one suite: a test per run, which is that it is valid, and one per expectation.

    A run that failed is an error, one that measured something else a failure.
    """
    suite = ElementTree.Element("testsuite", name=results.experiment)
    for record in results.records:
        _add_run(suite, results.experiment, record)
    for outcome in outcomes:
        _add_expectation(suite, results.experiment, outcome)
    for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(name, str(len(suite.findall(f"testcase/{tag}"))))
    suite.set("tests", str(len(suite)))
    ElementTree.indent(suite)
    text: str = ElementTree.tostring(suite, encoding="unicode", xml_declaration=True)
    return text + "\n"


def _add_run(suite: ElementTree.Element, experiment: str, record: RunRecord) -> None:
    wall_s = record.manifest.get("wall_s") or 0
    case = _case(suite, f"{experiment}.runs", record.name.removeprefix("runs/"), wall_s)
    reasons = "\n".join(record.reasons)
    if record.status == NOT_STARTED:
        ElementTree.SubElement(case, "skipped", message="the run was not started")
    elif record.status != "complete":
        ElementTree.SubElement(case, "error", message=record.status).text = reasons
    elif record.level != "valid":
        ElementTree.SubElement(case, "failure", message=str(record.level)).text = reasons


def _add_expectation(suite: ElementTree.Element, experiment: str, outcome: Outcome) -> None:
    name = " ".join(part for part in (outcome.number, outcome.expected, outcome.cell) if part)
    case = _case(suite, f"{experiment}.expect", name, 0)
    if outcome.is_missed:
        ElementTree.SubElement(case, "failure", message=outcome.sentence)
    elif outcome.status == NOT_JUDGED:
        ElementTree.SubElement(case, "skipped", message=outcome.sentence)


def _case(suite: ElementTree.Element, group: str, name: str, seconds: float) -> ElementTree.Element:
    return ElementTree.SubElement(
        suite, "testcase", classname=group, name=name, time=f"{seconds:.3f}"
    )
