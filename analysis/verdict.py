# SPDX-License-Identifier: Apache-2.0
"""Judge whether a run is a data point: valid, suspect or invalid, and why.

A workload can exit with 0 and the run still answer another question than the one that was asked.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from analysis.checks import CHECKS
from analysis.interference import is_answer
from analysis.load import load_run
from analysis.reasons import Reason
from analysis.tables import Frames
from testbed.errors import RunInvalid

LEVELS = ("valid", "suspect", "invalid")


@dataclass(frozen=True)
class Verdict:
    """The judgement.

    Attributes:
        status: one of LEVELS, the worst of the reasons.
        reasons: what was found; empty if and only if the run is valid.
    """

    status: str
    reasons: tuple[Reason, ...] = ()

    @property
    def warning(self) -> str:
        """What to print next to results: the first of the worst reasons, "" if valid."""
        worst = [reason.message for reason in self.reasons if reason.level == self.status]
        if not worst:
            return ""
        more = f" (and {len(self.reasons) - 1} more)" if len(self.reasons) > 1 else ""
        return f"{self.status}: {worst[0]}{more}"

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self)


def judge(run_dir: Path) -> Verdict:
    """Judge a run directory.

    One whose run.json or manifest.json cannot be read is invalid, not an error.
    """
    try:
        frames = load_run(run_dir)
    except RunInvalid as e:
        return Verdict("invalid", (Reason("readable", "invalid", str(e)),))
    return judge_frames(frames)


def judge_frames(frames: Frames) -> Verdict:
    """Judge a run that has been read."""
    checks = [check for name, check in CHECKS.items() if not is_answer(frames, name)]
    reasons = tuple(reason for check in checks for reason in check(frames))
    worst = max((LEVELS.index(reason.level) for reason in reasons), default=0)
    return Verdict(LEVELS[worst], reasons)
