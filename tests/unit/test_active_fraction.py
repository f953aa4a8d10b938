# SPDX-License-Identifier: Apache-2.0
"""Figures of the flow-level model, with the emulation on top, and how far they are apart."""

import numpy as np
import pandas as pd
import pytest

from analysis.active_fraction import active_fraction_figure, difference, subflows_figure
from analysis.files import write_figure
from testbed.fluid.case import FluidCase
from testbed.fluid.sweep import matrix, sweep

BASE = FluidCase(parameters={"k": 4})


@pytest.fixture(scope="module")
def fluid():
    return sweep(matrix(BASE, (0, 1), (0.25, 0.5, 1.0), ("lia",), (8,), seeds=(1, 2)))


@pytest.fixture(scope="module")
def by_subflows():
    tcp = FluidCase(parameters={"k": 4}, transport="tcp", cc="reno")
    many = sweep(matrix(BASE, (0,), (1.0,), ("reno", "lia"), (1, 2, 4), seeds=(1, 2)))
    return pd.concat([many, sweep(matrix(tcp, (0,), (1.0,), ("reno",), (1,), seeds=(1, 2)))])


def texts(figure):
    found = [text.get_text() for text in figure.texts]
    return found + [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def curves(figure):
    return [line for line in figure.axes[0].lines if line.get_linestyle() == "-"]


def test_a_curve_per_number_of_spare_ports_is_the_mean_over_seeds(fluid):
    drawn = curves(active_fraction_figure(fluid))
    assert len(drawn) == 2
    mean = fluid[(fluid["spare_ports"] == 1) & (fluid["active_fraction"] == 0.5)]["goodput_nic"]
    at = list(drawn[1].get_xdata()).index(0.5)
    assert drawn[1].get_ydata()[at] == pytest.approx(mean.mean())


def test_the_closed_form_is_drawn(fluid):
    lines = active_fraction_figure(fluid).axes[0].lines
    at = np.linspace(0, 1, 101)
    assert any(np.array_equal(line.get_ydata(), 1 + (1 - at) ** 2) for line in lines)


def test_emulation_is_points_on_top(fluid, tmp_path):
    emulated = fluid[fluid["active_fraction"] == 0.5].assign(goodput_nic=0.7)
    figure = active_fraction_figure(fluid, emulated)
    points = [line for line in figure.axes[0].lines if line.get_linestyle() == "None"]
    assert [list(line.get_ydata()) for line in points] == [pytest.approx([0.7])] * 2
    assert "emulation" in texts(figure)
    write_figure(tmp_path / "figure", figure, "code", "about")
    assert (tmp_path / "figure.png").stat().st_size > 10_000


def test_goodput_by_subflows_is_a_fraction_of_the_optimum(by_subflows):
    figure = subflows_figure(by_subflows)
    drawn = [line for line in curves(figure) if line.get_marker() == "."]
    assert [list(line.get_xdata()) for line in drawn] == [[1, 2, 4]] * 2
    assert all(0 < value <= 1 for line in drawn for value in line.get_ydata())
    assert "TCP, one path" in [text.get_text() for text in figure.axes[0].texts]


def test_sizes_and_names_are_said(fluid, by_subflows):
    for figure in (active_fraction_figure(fluid), subflows_figure(by_subflows)):
        assert any("fat tree of 16 servers" in text for text in texts(figure))
        assert any("no packets" in text for text in texts(figure))


def test_difference_is_per_cell_and_in_points(fluid):
    emulated = fluid[fluid["active_fraction"] == 0.5].copy()
    emulated["goodput_nic"] -= 0.05
    found = difference(fluid, emulated)
    assert list(found["spare_ports"]) == [0, 1]
    assert list(found["difference_points"]) == pytest.approx([5, 5])
    assert list(found["emulated_runs"]) == [2, 2]
