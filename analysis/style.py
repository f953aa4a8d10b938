# SPDX-License-Identifier: Apache-2.0
"""One table of names and colours, so that a path looks the same in every figure."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl


@dataclass(frozen=True)
class PathStyle:
    """How a path is drawn: its label and its colour."""

    label: str
    colour: str


# Colours of Okabe and Ito (https://jfly.uni-koeln.de/color/), told apart with colour-blind eyes.
PATHS = {
    "wifi": PathStyle("WiFi", "#0072B2"),
    "wifi2": PathStyle("WiFi 2", "#56B4E9"),
    "3g": PathStyle("3G", "#E69F00"),
    "lte": PathStyle("LTE", "#D55E00"),
    "wan": PathStyle("WAN", "#009E73"),
    "direct": PathStyle("direct", "#0072B2"),
    "middlebox": PathStyle("via middlebox", "#CC79A7"),
}
SPARE_COLOURS = ("#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
INK, FAINT, COVERAGE, ALARM = "#222222", "#777777", "#DCE9F3", "#B00020"

RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same on every machine
    "font.size": 9.0,
    "axes.titlesize": 10.5,
    "axes.labelsize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
    "axes.linewidth": 0.8,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "pdf.fonttype": 42,  # text stays text
    "svg.hashsalt": "testbed",
}


def settings() -> AbstractContextManager[None]:
    """Return a context in which matplotlib draws by this table, whatever the user's settings.

    A figure must be saved in it too: some sizes are looked up when it is drawn.
    """
    default = {k: v for k, v in mpl.rcParamsDefault.items() if not k.startswith("backend")}
    return mpl.rc_context({**default, **RC})


def path_style(path: str, place: int = 0) -> PathStyle:
    """Return the style of a path; one that is not in the table gets the spare colour `place`."""
    return PATHS.get(path, PathStyle(path, SPARE_COLOURS[place % len(SPARE_COLOURS)]))
