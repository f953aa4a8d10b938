# SPDX-License-Identifier: Apache-2.0
"""The difference of two backends: pairs, their interval, what counts, and how it is shown."""

import json

import numpy as np
import pytest
from scipy import stats

from analysis.compare import compare, comparison_figure, difference, paired_interval
from analysis.runs import read_results


def write_results(folder, goodputs, verdicts=None, mode="mptcp-full"):
    entries = []
    for number, goodput in enumerate(goodputs, 1):
        run = folder / f"runs/{mode}/rep{number:02d}"
        (run / "derived").mkdir(parents=True)
        verdict = verdicts[number - 1] if verdicts else "valid"
        plan = {"topology": {"paths": [{"name": "wifi"}]}, "mode": mode, "varied": {"mode": mode}}
        summary = {"goodput_mbps": goodput, "verdict": verdict, "bytes_per_path": {"wifi": 1000}}
        (run / "run.json").write_text(json.dumps({**plan, "seed": number}))
        (run / "manifest.json").write_text(json.dumps({"status": "complete", "wall_s": 9.0}))
        (run / "derived/summary.json").write_text(json.dumps(summary))
        entry = {"dir": str(run.relative_to(folder)), "varied": {"mode": mode}, "seed": number}
        entries.append({**entry, "repetition": number})
    folder.mkdir(exist_ok=True)
    (folder / "plan.json").write_text(json.dumps({"varies": ["mode"], "runs": entries}))
    return read_results(folder)


def test_the_interval_is_that_of_scipy():
    a, b = np.array([8.0, 8.2, 8.1, 8.4]), np.array([7.0, 7.9, 7.4, 7.6])
    reference = stats.ttest_rel(b, a).confidence_interval(0.95)

    assert paired_interval(a, b) == pytest.approx((reference.low, reference.high))


def test_what_the_seed_decides_drops_out():
    """Seeds differ by 2, the backends by 0.1: one is no reason to doubt the other."""
    a, b = np.array([6.0, 8.0, 10.0]), np.array([6.1, 8.11, 10.09])

    assert difference("", "goodput_mbps", a, b).is_clear


def test_backends_that_agree_exactly_do_not_differ():
    a = np.array([2.0, 3.0])

    assert paired_interval(a, a) == (0.0, 0.0)
    assert not difference("", "goodput_mbps", a, a).is_clear


def test_one_pair_has_no_interval():
    one = difference("", "goodput_mbps", np.array([8.0]), np.array([7.0]))

    assert (one.difference, one.low, one.is_clear) == (pytest.approx(-1.0), None, False)


def test_invalid_runs_do_not_count_and_wall_time_is_no_result(tmp_path):
    first = write_results(tmp_path / "a", [8.0, 8.2, 8.1])
    second = write_results(
        tmp_path / "b", [7.0, 7.2, 1.0, 7.1], ["valid", "suspect", "invalid", "valid"]
    )
    found = {one.metric: one for one in compare(first, second)}

    assert set(found) == {"goodput_mbps", "bytes_wifi"}
    goodput = found["goodput_mbps"]
    assert goodput.pairs == 2  # seeds 1 and 2: the third is invalid there, the fourth not here
    assert goodput.difference == pytest.approx(-1.0)
    assert goodput.relative == pytest.approx(-1 / 8.1)
    assert goodput.is_clear
    assert not found["bytes_wifi"].is_clear


def test_a_backend_without_usable_runs_has_no_mean(tmp_path):
    first = write_results(tmp_path / "a", [8.0, 8.2])
    second = write_results(tmp_path / "b", [1.0], ["invalid"])
    goodput = next(one for one in compare(first, second) if one.metric == "goodput_mbps")

    assert (goodput.second, goodput.pairs, goodput.difference) == (None, 0, None)


def test_the_figure_has_a_row_per_number(tmp_path):
    first, second = write_results(tmp_path / "a", [8.0, 8.2]), write_results(tmp_path / "b", [7, 8])
    figure = comparison_figure(compare(first, second), ("lab", "host"))

    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "MPTCP, all paths: goodput_mbps (2 pairs)",
        "MPTCP, all paths: bytes_wifi (2 pairs)",
    ]
