# SPDX-License-Identifier: Apache-2.0
"""What a check finds: one sentence with its evidence."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Reason:
    """One finding.

    Attributes:
        check: name of the check.
        level: "suspect" or "invalid".
        message: one sentence with the evidence in it.
        evidence: the same numbers for programs.
    """

    check: str
    level: str
    message: str
    evidence: dict[str, Any] = field(default_factory=dict)


def invalid(check: str, message: str, **evidence: Any) -> Reason:
    """Return a finding that makes a run no data point."""
    return Reason(check, "invalid", message, evidence)


def suspect(check: str, message: str, **evidence: Any) -> Reason:
    """Return a finding that a reader must know of."""
    return Reason(check, "suspect", message, evidence)
