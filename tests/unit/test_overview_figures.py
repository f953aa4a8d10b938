# SPDX-License-Identifier: Apache-2.0
"""Figures over all runs: drawn from whatever there is, legible, and honest about invalid runs."""

import itertools
import json

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from analysis import curves, per_cell, progress, style, timelines
from analysis.files import write_figure
from analysis.overview import figures, stalls_of
from analysis.runs import read_results
from analysis.style import MODES, SCENES, VARIANTS
from analysis.sweep import sweep_of
from tests.unit.overview_synthetic import Run, modes, write_results

LATENCIES = tuple(float(x) for x in range(1, 60))
CASES = {
    "one run": modes("mptcp-full"),
    "one run without a mode": [Run(varied={})],
    "all modes": modes(*MODES, latencies_ms=LATENCIES),
    "seeds": [
        Run(varied={"mode": mode}, repetition=n, mbps=2.0 + n)
        for mode in ("tcp-3g", "mptcp-full")
        for n in (1, 2, 3)
    ],
    "all invalid": modes("tcp-wifi", "mptcp-single", verdict="invalid"),
    "suspect": modes("tcp-wifi", "mptcp-single", verdict="suspect"),
    "none finished its download": modes("tcp-3g", has_ended=False, verdict="invalid"),
    "one mode did not finish": [*modes("tcp-wifi"), *modes("tcp-3g", has_ended=False)],
    "some never started": [*modes("tcp-wifi"), *modes("tcp-3g", status="not started")],
    "interrupted": [*modes("tcp-wifi"), *modes("tcp-3g", status="interrupted")],
    "numbers": [
        Run(varied={"links.3g.queue": queue}, repetition=n, mbps=1.0 + n)
        for queue in ("50 KB", "200 KB", "500 KB", "2 MB")
        for n in (1, 2, 3)
    ],
    "modes and numbers": [
        Run(varied={"mode": mode, "links.3g.queue": queue}, verdict=verdict)
        for mode, verdict in (("tcp-3g", "valid"), ("mptcp-full", "invalid"))
        for queue in ("50 KB", "500 KB")
    ],
    "long names": [
        Run(varied={"mptcp.scheduler": f"a scheduler with a name that is long, number {n}"})
        for n in range(3)
    ],
    "many cells": [Run(varied={"topology.hosts": str(n)}, mbps=1.0 + n) for n in range(14)],
}


@pytest.fixture(scope="module", params=CASES)
def drawn(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn") / "r"
    results = read_results(write_results(folder, CASES[request.param]))
    return dict(figures(results, sweep_of(results)))


def sweep(tmp_path, runs):
    results = read_results(write_results(tmp_path / "r", runs))
    return results, sweep_of(results)


def texts_of(figure: Figure) -> list[Text]:
    """Return the texts that are seen; an axis also keeps labels of ticks beyond its ends."""
    unseen = set()
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        low, high = sorted(axis.get_view_interval())
        ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
        unseen |= {t.label1 for t in ticks if not low - 1e-9 <= t.get_loc() <= high + 1e-9}
    found = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]
    return [text for text in found if text not in unseen and text.get_window_extent().width > 0]


def test_every_figure_is_drawn_and_legible(drawn):
    """No text leaves the page, and none lies on another."""
    assert {"progress", "timelines", "goodput", "handover_gaps", "bytes_per_path"} <= set(drawn)
    for name, figure in drawn.items():
        with style.settings():
            figure.draw_without_rendering()
        page = figure.bbox
        shown = [(text.get_text(), text.get_window_extent()) for text in texts_of(figure)]
        for text, box in shown:
            is_inside = box.x0 >= -1 and box.x1 <= page.x1 + 1 and box.y0 >= -1
            assert is_inside and box.y1 <= page.y1 + 1, (name, text)
        for (a, one), (b, other) in itertools.combinations(shown, 2):
            width = min(one.x1, other.x1) - max(one.x0, other.x0)
            height = min(one.y1, other.y1) - max(one.y0, other.y0)
            assert width <= 1 or height <= 1, (name, a, b)


def test_every_figure_says_how_many_runs_on_what_and_which_axes(drawn):
    for name, figure in drawn.items():
        text = " ".join(text.get_text() for text in figure.texts)
        for part in ("n = ", "seed", "backend lab", "Linux 7.3.4", "cubic (uncoupled)"):
            assert part in text, (name, part)
        for axes in figure.axes:
            rows_have_names = name in ("handover_gaps", "bytes_per_path")
            labels = [axes.get_xlabel(), axes.get_ylabel()]
            if name == "timelines" or rows_have_names or not any(labels):
                continue
            assert all("(" in label or label.startswith(("links", "topology", "fraction"))
                       for label in labels if label), (name, labels)  # fmt: skip


def test_no_run_left_anything(tmp_path):
    results, all_runs = sweep(tmp_path, modes("tcp-3g", status="not started"))

    assert dict(figures(results, all_runs)) == {}


def test_the_same_runs_give_the_same_bytes(tmp_path):
    results, all_runs = sweep(tmp_path, CASES["seeds"])

    def write(folder):
        folder.mkdir()
        for name, figure in figures(results, all_runs):
            write_figure(folder / name, figure, "the code", "the runs")
        return {file.name: file.read_bytes() for file in folder.iterdir()}

    first = write(tmp_path / "1")
    with matplotlib.rc_context({"font.size": 30, "axes.grid": True, "pdf.compression": 0}):
        again = write(tmp_path / "2")
    assert first == again and len(first) == 10


def test_the_progress_ends_with_what_was_delivered(tmp_path):
    results, all_runs = sweep(tmp_path, modes("mptcp-full", mbps=4.0))
    [axes] = progress.progress_figure(all_runs, results.gather("goodput")).axes
    line = axes.get_lines()[0]

    assert line.get_xdata()[-1] == 10.0
    assert line.get_ydata()[-1] == pytest.approx(5.0)
    assert axes.get_xlabel() == "time since the start of the run (s)"
    assert axes.get_ylabel() == "delivered to the application (MB)"


def test_progress_of_a_run_without_a_byte(tmp_path):
    results, _ = sweep(tmp_path, modes("mptcp-full", mbps=0.0))
    times, sizes = progress.progress_of(results.gather("goodput"))

    assert (times.size, sizes.size) == (0, 0)


def test_the_thick_line_is_the_median_of_the_usable_runs(tmp_path):
    runs = [
        *(Run(repetition=n, mbps=mbps) for n, mbps in ((1, 2.0), (2, 4.0), (3, 6.0))),
        Run(repetition=4, mbps=60.0, verdict="invalid"),
    ]
    results, all_runs = sweep(tmp_path, runs)
    [axes] = progress.progress_figure(all_runs, results.gather("goodput")).axes
    [thick] = [line for line in axes.get_lines() if line.get_linewidth() == 2.0]

    assert thick.get_ydata()[-1] == pytest.approx(5.0)


def test_an_invalid_run_is_grey_and_named(tmp_path):
    runs = [*modes("tcp-wifi"), *modes("mptcp-full", verdict="invalid")]
    results, all_runs = sweep(tmp_path, runs)
    figure = progress.progress_figure(all_runs, results.gather("goodput"))
    colours = {line.get_color() for line in figure.axes[0].get_lines()}

    assert colours == {MODES["tcp-wifi"].colour, style.INVALID.colour}
    assert "MPTCP, all paths no. 1" in " ".join(text.get_text() for text in figure.texts)


def test_an_invalid_run_is_in_no_median(tmp_path):
    runs = [Run(mbps=4.0), Run(repetition=2, mbps=40.0, verdict="invalid")]
    _, all_runs = sweep(tmp_path, runs)
    [axes] = per_cell.goodput_figure(all_runs).axes

    assert [patch.get_width() for patch in axes.patches] == [4.0]
    assert axes.patches[0].get_hatch() is None


def test_a_cell_of_invalid_runs_is_hatched_and_says_so(tmp_path):
    _, all_runs = sweep(tmp_path, modes("mptcp-full", verdict="invalid"))
    for figure in (per_cell.goodput_figure(all_runs), per_cell.bytes_per_path_figure(all_runs)):
        [axes] = figure.axes
        assert all(patch.get_hatch() for patch in axes.patches)
        assert any("invalid: " in text.get_text() for text in axes.texts)


def test_bytes_per_path_are_stacked(tmp_path):
    _, all_runs = sweep(tmp_path, modes("mptcp-full", mbps=4.0))
    [axes] = per_cell.bytes_per_path_figure(all_runs).axes
    bars = [(patch.get_x(), patch.get_width()) for patch in axes.patches]

    assert bars == [(0.0, 3.75), (3.75, 1.25)]  # 3G is always there and lies below
    assert {text.get_text().strip() for text in axes.texts} == {"75%", "25%", "5.0 MB"}


def test_a_gap_of_0_began_earlier_and_is_counted_there(tmp_path):
    results, all_runs = sweep(tmp_path, modes("mptcp-full"))
    gaps = per_cell.usable_gaps(results.gather("handover_gaps"))

    assert gaps["change"].tolist() == ["lost"]
    [axes] = per_cell.handover_gaps_figure(all_runs, results.gather("handover_gaps")).axes
    assert "lost: n = 1, median 1.50 s  ·  max 1.50 s" in {text.get_text() for text in axes.texts}


def test_gaps_on_losing_and_on_gaining_coverage_have_medians_of_their_own(tmp_path):
    results, all_runs = sweep(tmp_path, [Run(repetition=n) for n in (1, 2, 3)])
    table = results.gather("handover_gaps")
    table.loc[table["change"] == "gained", "gap_delivered_s"] = [0.1, 0.2, 0.9]
    [axes] = per_cell.handover_gaps_figure(all_runs, table).axes
    [text] = [text.get_text() for text in axes.texts]

    assert text == "lost: n = 3, median 1.50 s  ·  gained: n = 3, median 0.2 s  ·  max 1.50 s"


def test_a_workload_that_ends_when_its_time_is_up_is_not_unfinished(tmp_path):
    folder = write_results(tmp_path / "r", modes("mptcp-full", has_ended=False))
    plan = next(folder.rglob("run.json"))
    workload = {"name": "bulk", "flows": [{"duration_s": 10.0, "size_bytes": None}]}
    plan.write_text(json.dumps(json.loads(plan.read_text()) | {"workload": workload}))
    results = read_results(folder)
    figure = progress.progress_figure(sweep_of(results), results.gather("goodput"))
    labels = {text.get_text() for text in figure.legends[0].get_texts()}

    assert labels == {"MPTCP, all paths", "WiFi coverage, station n"}
    assert figure.texts[0].get_text() == "Progress of the bulk transfer over WiFi and 3G"


def test_more_paths_than_can_be_told_apart_are_one_area(tmp_path):
    folder = write_results(tmp_path / "r", modes("mptcp-full", mbps=4.0))
    plan = next(folder.rglob("run.json"))
    content = json.loads(plan.read_text())
    [wifi, cell] = content["topology"]["paths"]
    content["topology"]["paths"] = [wifi, cell, *({**cell, "name": f"p{n}"} for n in range(99))]
    plan.write_text(json.dumps(content))
    results = read_results(folder)
    drawn = dict(figures(results, sweep_of(results)))

    assert "bytes_per_path" not in drawn
    [axes] = drawn["timelines"].axes
    assert axes.collections[0].get_paths()[0].vertices[:, 1].max() == pytest.approx(4.0)
    assert "over 101 paths" in drawn["timelines"].texts[0].get_text()


def test_an_invalid_run_over_three_paths_is_drawn(tmp_path):
    folder = write_results(tmp_path / "r", modes("mptcp-full", verdict="invalid"))
    plan = next(folder.rglob("run.json"))
    content = json.loads(plan.read_text())
    [wifi, cell] = content["topology"]["paths"]
    content["topology"]["paths"] = [wifi, {**cell, "name": "unused"}, cell]
    plan.write_text(json.dumps(content))
    results = read_results(folder)
    [axes] = dict(figures(results, sweep_of(results)))["timelines"].axes
    assert [area.get_alpha() for area in axes.collections] == pytest.approx([0.75, 0.45])


def test_a_run_without_changes_shows_its_longest_gap(tmp_path):
    results, _ = sweep(tmp_path, modes("mptcp-full"))
    table = results.gather("handover_gaps").query("change == 'overall'")

    assert per_cell.usable_gaps(table)["change"].tolist() == ["overall"]


def test_goodput_over_a_number_has_its_values_and_unit_on_the_axis(tmp_path):
    _, all_runs = sweep(tmp_path, CASES["numbers"])
    [axes] = per_cell.goodput_figure(all_runs).axes
    ticks = [label.get_text() for label in axes.get_xticklabels()]

    assert axes.get_xlabel() == "links.3g.queue (KB)"
    assert ticks == ["50", "200", "500", "2000"]
    medians = axes.get_lines()[0]
    assert list(medians.get_ydata()) == [3.0] * 4


def test_an_axis_keeps_the_unit_that_all_values_have(tmp_path):
    runs = [Run(varied={"links.3g.queue": f"{size} KB"}) for size in (50, 100)]
    _, all_runs = sweep(tmp_path, runs)
    [axes] = per_cell.goodput_figure(all_runs).axes

    assert axes.get_xlabel() == "links.3g.queue (KB)"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["50", "100"]


def test_the_latency_distribution_ends_at_1(tmp_path):
    runs = modes("tcp-3g", "mptcp-full", latencies_ms=LATENCIES)
    results, all_runs = sweep(tmp_path, runs)
    [axes] = curves.latency_figure(all_runs, results.gather("blocks", ["latency_ms"])).axes

    for line in axes.get_lines():
        assert (line.get_xdata()[-1], line.get_ydata()[-1]) == (59.0, 1.0)
        assert (np.diff(line.get_ydata()) > 0).all()
    assert axes.get_xlabel() == "latency of a block (ms)"


def test_timelines_have_a_panel_per_cell_with_stations(tmp_path):
    results, all_runs = sweep(tmp_path, modes(*MODES))
    figure = timelines.timelines_figure(
        all_runs, results.gather("throughput"), stalls_of(results, all_runs)
    )

    assert len(figure.axes) == 6
    assert {axes.get_ylim() for axes in figure.axes} == {figure.axes[0].get_ylim()}
    for axes in figure.axes:
        assert [text.get_text() for text in axes.texts] == ["1", "2"]
        top = max(path.vertices[:, 1].max() for c in axes.collections for path in c.get_paths())
        assert top == pytest.approx(4.0)
        [gap] = axes.get_lines()
        assert list(gap.get_xdata())[:2] == [3.0, 4.5]


def test_stations_that_differ_between_seeds_are_shaded_each(tmp_path):
    folder = write_results(tmp_path / "r", [Run(repetition=n) for n in (1, 2)])
    plan = next((folder / "runs").rglob("rep02/run.json"))
    content = json.loads(plan.read_text()) | {"coverage": {"wifi": [[0.0, 5.0]]}}
    plan.write_text(json.dumps(content))
    results = read_results(folder)
    figure = progress.progress_figure(sweep_of(results), results.gather("goodput"))
    shades = [
        (patch.get_x(), patch.get_width(), patch.get_alpha()) for patch in figure.axes[0].patches
    ]

    assert shades == [(0.0, 3.0, 0.5), (6.0, 2.0, 0.5), (0.0, 5.0, 0.5)]
    assert "WiFi coverage, darker: in more runs" in {
        text.get_text() for text in figure.legends[0].get_texts()
    }


@pytest.mark.parametrize("table", [MODES, SCENES, VARIANTS])
def test_modes_are_told_apart_without_colour(table):
    looks = [(str(look.line), look.marker) for look in table.values()]

    assert len(set(looks)) == len({look.colour for look in table.values()}) == len(table)


@pytest.mark.parametrize(
    ("texts", "axis"),
    [
        (["200 ms", "500 ms"], (1e-3, "ms")),
        (["100 KB", "8 MB"], (1e3, "KB")),
        (["1 s", "200 ms", "2 s"], (1e-3, "ms")),
        (["1", "4"], (1.0, "")),
    ],
)
def test_an_axis_has_the_smallest_unit_of_its_values(texts, axis):
    """So that its numbers have no exponents."""
    assert curves.axis_unit(texts) == axis
