# SPDX-License-Identifier: Apache-2.0
"""One table of names and colours, so that a path or a mode looks the same in every figure."""

import re
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import matplotlib.colors


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


@dataclass(frozen=True)
class ModeStyle:
    """How a mode, or another cell of an experiment, is drawn.

    Attributes:
        line: matplotlib's line style; with the marker it tells curves apart without colour.
        marker: put where a curve ends.
    """

    label: str
    colour: str
    line: Any = "-"
    marker: str = "o"


# Dashed is TCP, solid begins with MPTCP on all paths; in the order in which figures show them.
MODES = {
    "tcp-wifi": ModeStyle("TCP, WiFi only", "#0072B2", (0, (1, 1.2)), "v"),
    "tcp-3g": ModeStyle("TCP, 3G only", "#E69F00", (0, (4, 1.6)), "^"),
    "tcp-handover": ModeStyle("TCP, new connection on handover", "#777777", (0, (5, 1, 1, 1)), "s"),
    "mptcp-full": ModeStyle("MPTCP, all paths", "#009E73", "-", "o"),
    "mptcp-backup": ModeStyle("MPTCP, 3G as backup", "#CC79A7", (0, (8, 1.2)), "D"),
    "mptcp-single": ModeStyle("MPTCP, one path at a time", "#D55E00", (0, (6, 1, 1, 1, 1, 1)), "P"),
}
# Of a migration, which are never in one figure with the modes.
VARIANTS = {
    "mptcp-make-before-break": ModeStyle("MPTCP, make before break", "#009E73", "-", "o"),
    "mptcp-break-before-make": ModeStyle("MPTCP, break before make", "#0072B2", (0, (8, 1.2)), "D"),
    "tcp-renumbered": ModeStyle("TCP, address changes", "#777777", (0, (5, 1, 1, 1)), "s"),
    "tcp-l2-tunnel": ModeStyle("TCP, address kept by a tunnel", "#D55E00", (0, (4, 1.6)), "^"),
    "tcp-proxy": ModeStyle("TCP through a proxy", "#E69F00", (0, (1, 1.2)), "v"),
}
SCENES = {
    "insert": ModeStyle("through a middlebox", "#CC79A7", "-", "o"),
    "bypass": ModeStyle("away from a middlebox", "#0072B2", (0, (8, 1.2)), "D"),
    "chain": ModeStyle("through two middleboxes", "#E69F00", (0, (4, 1.6)), "^"),
    "srv6": ModeStyle("through a middlebox by segments", "#009E73", (0, (5, 1, 1, 1)), "s"),
}
# Of the judging cases of congestion control, where colours tell congestion controls apart.
JUDGING = {
    "bottleneck": ModeStyle("one bottleneck", "#0072B2", "-", "o"),
    "loss-rtt": ModeStyle("two lossy paths", "#E69F00", (0, (8, 1.2)), "D"),
    "two-bottlenecks": ModeStyle("a congested path", "#CC79A7", (0, (4, 1.6)), "^"),
}
# Of a station among access points: dashed is one at a time.
POLICIES = {
    "tcp-ap1": ModeStyle("TCP, AP 1", "#0072B2", (0, (1, 1.2)), "v"),
    "tcp-ap2": ModeStyle("TCP, AP 2", "#E69F00", (0, (4, 1.6)), "^"),
    "single-ap": ModeStyle("MPTCP, one AP until it is lost", "#777777", (0, (5, 1, 1, 1)), "s"),
    "fast-handover": ModeStyle("MPTCP, next AP before the last", "#56B4E9", (0, (8, 1.2)), "D"),
    "two-nic": ModeStyle("MPTCP, two NICs", "#009E73", "-", "o"),
    "one-nic": ModeStyle("MPTCP, one NIC by turns", "#CC79A7", "-", "P"),
    "all-aps": ModeStyle("MPTCP, one NIC on all APs", "#D55E00", "-", "X"),
}
INVALID = ModeStyle("invalid", "#9A9A9A", (0, (2, 2)), "x")
SPARE_COLOURS = ("#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#0072B2")
# Of access points, on maps and of the paths over them.
AP_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
AIR_PATH = re.compile(r"w(\d+)-ap(\d+)")  # NIC and access point
INK, MUTED, FAINT, COVERAGE, ALARM = "#222222", "#555555", "#777777", "#DCE9F3", "#B00020"

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


ALL_MODES = (MODES, VARIANTS, SCENES, JUDGING, POLICIES)


def mode_style(mode: str) -> ModeStyle | None:
    """Return the style of a mode, variant, scene or policy; None if it is in no table."""
    return next((table[mode] for table in ALL_MODES if mode in table), None)


def ordered_style(label: str, place: int, count: int) -> ModeStyle:
    """Return the style of the `place`-th of `count` cells that are no modes of the table."""
    lines, markers = ("-", (0, (5, 1.5)), (0, (1, 1.2)), (0, (5, 1, 1, 1))), "oDsPv^"
    # Viridis rises evenly in lightness; its bright end is not seen on paper.
    shade = mpl.colormaps["viridis"](0.85 * place / max(count - 1, 1))
    colour = mpl.colors.to_hex(shade)
    return ModeStyle(label, colour, lines[place % len(lines)], markers[place % len(markers)])


def path_style(path: str, place: int = 0) -> PathStyle:
    """Return the style of a path; one that is not in the table gets the spare colour `place`."""
    if air := AIR_PATH.fullmatch(path):
        nic, ap = (int(number) for number in air.groups())
        return PathStyle(f"AP {ap}, NIC {nic}", _lighter(ap_colour(ap), nic - 1))
    return PATHS.get(path, PathStyle(path, SPARE_COLOURS[place % len(SPARE_COLOURS)]))


def ap_colour(number: int) -> str:
    """Return the colour of an access point; they are counted from 1."""
    return AP_COLOURS[(number - 1) % len(AP_COLOURS)]


def _lighter(colour: str, steps: int) -> str:
    """Return a colour that is nearer to white by so many steps."""
    share = 0.6**steps
    red, green, blue = (1 - share * (1 - part) for part in mpl.colors.to_rgb(colour))
    return mpl.colors.to_hex((red, green, blue))
