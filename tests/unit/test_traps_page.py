# SPDX-License-Identifier: Apache-2.0
"""docs/traps.md names tests and checks that are there."""

import re
from pathlib import Path

from analysis.checks import CHECKS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "traps.md").read_text()


def test_every_test_on_the_page_exists():
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    sources = "".join(file.read_text() for file in (ROOT / "tests").rglob("test_*.py"))
    assert len(named) > 20
    assert {name for name in named if f"def {name}(" not in sources} == set()


def test_every_check_on_the_page_exists():
    cells = re.findall(r"\| checks? ([^|;]*)", PAGE)
    named = {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}
    assert len(named) > 10
    assert {name for name in named if not name.startswith("test_")} <= {*CHECKS}
