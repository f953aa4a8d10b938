# SPDX-License-Identifier: Apache-2.0
"""How to reach a machine that carries out runs: one kind of machine per file."""

from testbed.backends.base import Backend
from testbed.backends.lab import LabBackend

BACKENDS: dict[str, type[Backend]] = {"lab": LabBackend}
