# SPDX-License-Identifier: Apache-2.0
"""One run directory: its two JSON files, what is read of raw/, and what could not be."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from analysis.datacenter import is_datacenter
from analysis.tables import Origin
from testbed.errors import RunInvalid, TestbedError

T = TypeVar("T")


class RunFiles:
    """The files of one run; it remembers what it read and what it could not.

    Args:
        path: the directory that holds run.json, manifest.json and raw/.

    Raises:
        RunInvalid: run.json or manifest.json is missing or is not JSON.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[str] = []
        self.sources: list[str] = []
        self.run = self._required_json("run.json")
        self.paths: list[dict[str, Any]] = (self.run.get("topology") or {}).get("paths") or []
        if not self.paths and not is_datacenter(self.run):
            raise RunInvalid(f"{path.name}: run.json names no path, plan the run again")
        self.manifest = self._required_json("manifest.json")
        done = [e for e in self.manifest.get("events") or [] if e.get("is_of_workload")]
        if done:
            self.run["events"] = [*(self.run.get("events") or []), *done]
        self.run_id = str(self.run.get("run_id", path.resolve().name))
        # A double of Unix seconds is exact to about 0.2 us only, so whole ns if they are there.
        seconds = float(self.manifest.get("started_unix_s") or 0)
        self.start_ns = int(self.manifest.get("started_unix_ns") or round(seconds * 1e9))

    def _required_json(self, name: str) -> dict[str, Any]:
        try:
            content = json.loads((self.path / name).read_text())
        except (OSError, ValueError) as e:
            raise RunInvalid(f"{self.path.name}: {name} cannot be read ({e})") from e
        if not isinstance(content, dict):
            raise RunInvalid(f"{self.path.name}: {name} is not a JSON object")
        self.sources.append(name)
        return content

    def _read(self, name: str, parse: Callable[[bytes], T], otherwise: T) -> T:
        """Parse raw/NAME; if that fails, note the problem and return `otherwise`."""
        try:
            content = parse((self.path / "raw" / name).read_bytes())
        except OSError:
            self.problems.append(f"raw/{name} is missing")
            return otherwise
        except (TestbedError, ValueError) as e:
            self.problems.append(f"raw/{name}: {e}")
            return otherwise
        self.sources.append(f"raw/{name}")
        return content

    def _origin(self, host: str, path: str = "") -> Origin:
        return Origin(self.run_id, host, path, self.start_ns)

    def _wants(self, collector: str) -> bool:
        return collector in (self.run.get("collectors") or {})


def json_lines(raw: bytes) -> list[dict[str, Any]]:
    """Parse one JSON object per line."""
    return [json.loads(line) for line in raw.splitlines() if line.strip()]
