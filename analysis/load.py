# SPDX-License-Identifier: Apache-2.0
"""Read a run directory into tables; here, in `run_files` and in `report` analysis opens files.

What is missing or malformed becomes an entry of `Frames.problems`, so that a verdict can name it:
a run whose captures cannot be read has failed, not crashed.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa  # type: ignore[import-untyped]

from analysis import sockets, streams, subflows, tables
from analysis.attempts import limit_to_attempts
from analysis.case_files import CaseFiles
from analysis.packets import count_foreign, own_packets, packet_table
from analysis.parse.machine import MachineSample, parse_machine
from analysis.parse.mptcp_events import parse_mptcp_events
from analysis.parse.nstat import parse_nstat
from analysis.parse.pcap import Chunk, iter_packets
from analysis.parse.ss import parse_ss
from analysis.parse.tcpdump import CaptureStatistics, parse_tcpdump
from analysis.run_files import json_lines
from analysis.survey import Survey, Surveyor
from analysis.tables import Frames, Origin
from testbed.errors import TestbedError

T = TypeVar("T")
REAL = "real"
CHUNK_PACKETS = 1 << 17  # about 40 MB of memory


def load_run(run_dir: Path) -> Frames:
    """Read run.json, manifest.json and everything in raw/.

    Raises:
        RunInvalid: run.json or manifest.json is missing or is not JSON.
    """
    return RunDirectory(run_dir).load()


class RunDirectory(CaseFiles):
    """Reader of one run directory.

    Args:
        path: the directory that holds run.json, manifest.json and raw/.
        chunk_packets: how many packets to work on at once. The results do not depend on it.
    """

    def __init__(self, path: Path, chunk_packets: int = CHUNK_PACKETS) -> None:
        super().__init__(path)
        self.chunk_packets = chunk_packets
        # Where there is room for the captures there is room for what is kept of them.
        self.spill = path if os.access(path, os.W_OK) else None

    def load(self) -> Frames:
        """Read all tables."""
        survey, captures = self._captures()
        flows = subflows.describe_subflows(survey.firsts, survey.opening, survey.events)
        tcp, mptcp = self._sockets(flows)
        data, delivered = streams.follow(
            survey.segments, flows, chunk_rows=self.chunk_packets, folder=self.spill
        )
        return Frames(
            run_id=self.run_id,
            run=self.run,
            manifest=self.manifest,
            traffic=survey.traffic,
            events=survey.events,
            subflows=flows,
            data=data,
            delivered=limit_to_attempts(delivered, flows, self.manifest.get("workload") or {}),
            sockets=tcp,
            connections=mptcp,
            counters=self._counters(),
            links=self._links(),
            captures=captures,
            link_samples=self._link_samples(),
            mptcp_events=self._mptcp_events(),
            base_rtt=self._base_rtt(),
            **self.case_tables(),
            timers=self._timers(),
            machine=self._machine(),
            problems=self.problems,
            sources=sorted(self.sources),
        )

    def packet_tables(self, flows: pd.DataFrame) -> Iterator[pa.Table]:
        """Yield the table of packets chunk by chunk, from the captures.

        Args:
            flows: Frames.subflows, as load() made them.
        """
        numbers = subflows.numbers_of(flows)
        for capture, place in self._places():
            origin = self._origin(place["node"], place["name"])
            for chunk in self._chunks(capture["file"], []):
                own = own_packets(chunk, path_addresses(place))
                if own.number.size:
                    yield packet_table(own, origin, numbers)

    def _captures(self) -> tuple[Survey, pd.DataFrame]:
        """Read the captures of the interfaces that carry a path."""
        surveyor = Surveyor(self.run_id, self.spill)
        captures = [tables.empty(tables.CAPTURE_COLUMNS)]
        for capture, place in self._places():
            others = self._other_addresses(place)
            counts = {"packets": 0, "foreign_packets": 0}
            for chunk in self._chunks(capture["file"], self.problems):
                if not self.start_ns and len(chunk.packets):
                    # The run failed before it said when it started: its first packet has to do.
                    self.start_ns = int(chunk.packets["t_ns"][0])
                own = own_packets(chunk, path_addresses(place))
                surveyor.add(own, chunk.events, self._origin(place["node"], place["name"]))
                counts["packets"] += own.number.size
                counts["foreign_packets"] += count_foreign(chunk, others)
            origin = self._origin(place["node"], place["name"])
            captures.append(self._statistics(capture["file"], counts, origin))
        return surveyor.finish(), tables.concat(captures)

    def _places(self) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """Yield each capture of an interface that carries a path, and the path."""
        for capture in self.run.get("captures", []):
            place = self._path_of(capture)
            if place is not None:
                yield capture, place

    def _path_of(self, capture: dict[str, Any]) -> dict[str, Any] | None:
        """Return the path whose interface was captured; two paths may share an interface."""
        here = (capture["node"], capture["interface"])
        found = [p for p in self.paths if (p["node"], p["interface"]) == here]
        named = [p for p in found if p["name"] == capture.get("path")]
        return next(iter(named or found), None)

    def _other_addresses(self, place: dict[str, Any]) -> list[str]:
        """Return the addresses of the same host's other interfaces."""
        others = [
            path
            for path in self.paths
            if path["node"] == place["node"] and path["interface"] != place["interface"]
        ]
        mine = path_addresses(place)
        found = [address for other in others for address in path_addresses(other)]
        return [address for address in found if address not in mine]

    def _chunks(self, file: str, problems: list[str]) -> Iterator[Chunk]:
        """Yield the chunks of raw/FILE; a file that is malformed ends early, with a problem."""
        name = f"raw/{file}"
        try:
            # A mapping, so that the size does not matter.
            data = np.memmap(self.path / name, dtype=np.uint8, mode="r")
            if name not in self.sources:
                self.sources.append(name)
            yield from iter_packets(data, self.chunk_packets)
        except OSError:
            problems.append(f"{name} is missing")
        except (TestbedError, ValueError) as e:  # numpy maps no empty file
            problems.append(f"{name}: {e}")

    def _statistics(self, file: str, counts: dict[str, int], origin: Origin) -> pd.DataFrame:
        """Return the row of Frames.captures for one capture."""
        log = file.removesuffix(".pcap") + ".tcpdump.txt"
        said = self._read(log, lambda raw: parse_tcpdump(raw.decode(errors="replace")), None)
        known = said or CaptureStatistics()
        row = {
            "file": [file],
            **{name: [count] for name, count in counts.items()},
            "captured": [known.captured],
            "received": [known.received],
            "dropped": [known.dropped_by_kernel],
        }
        return tables.with_keys(pd.DataFrame(row).astype(tables.CAPTURE_COLUMNS), origin)

    def _sockets(self, flows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Read the socket samples of every host that left some."""
        numbers = subflows.subflow_of_socket(flows)
        paths = dict(zip(flows["subflow"], flows["path"], strict=True))
        known = {pair: (number, str(paths[number])) for pair, number in numbers.items()}
        none, origin = parse_ss(b""), self._origin("")
        tcp = [sockets.socket_rows(none.tcp, origin, known)]
        mptcp = [sockets.connection_rows(none.mptcp, origin)]
        for file in sorted((self.path / "raw").glob("*.ss.bin")):
            samples = self._read(file.name, parse_ss, None)
            if samples is not None:
                origin = self._origin(file.name.removesuffix(".ss.bin"))
                tcp.append(sockets.socket_rows(samples.tcp, origin, known))
                mptcp.append(sockets.connection_rows(samples.mptcp, origin))
        return tables.concat(tcp), tables.concat(mptcp)

    def _counters(self) -> pd.DataFrame:
        """Read the protocol counters of every host that left some."""
        parts = [tables.empty(tables.COUNTER_COLUMNS)]
        for file in sorted((self.path / "raw").glob("*.nstat.end.txt")):
            host = file.name.removesuffix(".nstat.end.txt")
            start, end = (
                self._read(f"{host}.nstat.{when}.txt", lambda raw: parse_nstat(raw.decode()), None)
                for when in ("start", "end")
            )
            if start is not None and end is not None:
                parts.append(tables.counter_rows(start, end, self._origin(host)))
        return tables.concat(parts)

    def _links(self) -> pd.DataFrame:
        """Read the link counters."""
        none: dict[str, Any] = {}
        start, end = (
            self._read(f"links.{when}.json", json.loads, none) for when in ("start", "end")
        )
        return tables.link_rows(start, end, self._origin(""))

    def _link_samples(self) -> pd.DataFrame:
        """Read the link counters over time, which older runs do not have."""
        parts = [tables.empty(tables.LINK_SAMPLE_COLUMNS)]
        if self._wants("links"):
            none: list[dict[str, Any]] = []
            lines = self._read("links.jsonl", json_lines, none)
            parts.append(tables.link_sample_rows(lines, self._origin("")))
        return tables.concat(parts)

    def _mptcp_events(self) -> pd.DataFrame:
        """Read what the kernel said of connections and subflows."""
        parts = [tables.empty(tables.MPTCP_EVENT_COLUMNS)]
        for file in sorted((self.path / "raw").glob("*.mptcp_events.bin")):
            events = self._read(file.name, parse_mptcp_events, None)
            if events is not None:
                origin = self._origin(file.name.removesuffix(".mptcp_events.bin"))
                parts.append(tables.mptcp_event_rows(events, origin))
        return tables.concat(parts)

    def _base_rtt(self) -> dict[str, Any]:
        none: dict[str, Any] = {}
        return self._read("paths.rtt.json", json.loads, none) if self._wants("links") else none

    def _timers(self) -> pd.DataFrame:
        """Read how late the runner's timers were, which real time only has."""
        if self.manifest.get("clock") != REAL:
            return tables.empty(tables.TIMER_COLUMNS)
        none: dict[str, Any] = {"late_ns": []}
        late = np.array(self._read("timers.json", json.loads, none)["late_ns"], dtype=np.int64)
        late = late.reshape(-1, 2)
        frame = pd.DataFrame({"late_s": late[:, 1] / 1e9})
        return tables.with_keys(frame.astype(tables.TIMER_COLUMNS), self._origin(""), late[:, 0])

    def _machine(self) -> list[MachineSample]:
        """Read how busy the machine was, which matters in real time only."""
        none: list[MachineSample] = []
        is_real = self.manifest.get("clock") == REAL
        return self._read("machine.jsonl", parse_machine, none) if is_real else none


def path_addresses(path: dict[str, Any]) -> list[str]:
    """Return the addresses that a path's interface has, or carries, at some time in the run."""
    own = list(path.get("addresses") or [path["address"]])
    return own + list(path.get("tunnelled") or [])
