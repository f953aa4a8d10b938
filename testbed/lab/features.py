# SPDX-License-Identifier: Apache-2.0
"""What the lab kernel has, known from its configuration before one is built or booted.

A test holds this to what the kernel itself says.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from testbed.errors import PlanError
from testbed.lab.kernel import PROJECT_ROOT
from testbed.lab.kernel_config import join_fragments, parse_config
from testbed.topology import near_miss

# Linux has Reno always, and Kconfig calls one by another name than the kernel does.
ALWAYS = "reno"
OTHER_NAMES = {"hstcp": "highspeed"}
_SYMBOL = re.compile(r"CONFIG_(?:TCP|MPTCP)_CONG_(\w+)")
_CHOICE = "CONFIG_TCP_CONG_ADVANCED"

# The kernel has one scheduler; others would be programs that somebody loads into it.
SCHEDULERS = ("default",)


def congestion_controls(fragments: Iterable[str]) -> list[str]:
    """Return the congestion controls, as the kernel calls them, of configuration fragments."""
    symbols = parse_config(join_fragments(fragments))
    chosen = [symbol for symbol, value in symbols.items() if value == "y" and symbol != _CHOICE]
    names = [match[1].lower() for symbol in chosen if (match := _SYMBOL.fullmatch(symbol))]
    return [ALWAYS, *(OTHER_NAMES.get(name, name) for name in names)]


def check_names(plans: Iterable[dict[str, Any]], folder: Path = PROJECT_ROOT) -> None:
    """Refuse runs that name what the lab kernel does not have.

    Args:
        plans: contents of run.json.
        folder: the checkout; one without a kernel/ folder says nothing about its kernel.

    Raises:
        PlanError: one does; the message has the name that was probably meant, or all of them.
    """
    fragments = sorted((folder / "kernel" / "config").glob("*.config"))
    if not fragments:
        return
    controls = congestion_controls(path.read_text() for path in fragments)
    for plan in plans:
        asked = plan["mptcp"]
        _check("tcp.congestion_control", asked["congestion_control"], controls)
        _check("mptcp.scheduler", asked["scheduler"], SCHEDULERS)
        if rival := plan["workload"].get("rival"):
            _check("workload.rival", rival, controls)


def _check(place: str, name: str, known: Iterable[str]) -> None:
    if name not in known:
        raise PlanError(f'{place}: the lab kernel has no "{name}"{near_miss(name, known)}')
