# SPDX-License-Identifier: Apache-2.0
"""Read a run directory into tables; with `report`, the only module of analysis that opens files.

What is missing or malformed becomes an entry of `Frames.problems`, so that a verdict can name it:
a run whose captures cannot be read has failed, not crashed.
"""

import json
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa  # type: ignore[import-untyped]

from analysis import inspection, sockets, streams, subflows, tables
from analysis.attempts import limit_to_attempts
from analysis.datacenter import is_datacenter
from analysis.packets import count_foreign, own_packets, packet_table
from analysis.parse.blocks import block_rows, parse_blocks, receiving_nodes
from analysis.parse.machine import MachineSample, parse_machine
from analysis.parse.mptcp_events import parse_mptcp_events
from analysis.parse.nfqueue import parse_queue
from analysis.parse.nft import parse_nft
from analysis.parse.nstat import parse_nstat
from analysis.parse.pcap import Chunk, iter_packets
from analysis.parse.radio import AirFrames, RadioEvidence, parse_radio
from analysis.parse.reads import parse_reads
from analysis.parse.segments import Seen, parse_segments
from analysis.parse.ss import parse_ss
from analysis.parse.tcpdump import CaptureStatistics, parse_tcpdump
from analysis.parse.wifi import parse_gate, parse_packets, parse_probes
from analysis.radio import has_radios
from analysis.survey import Survey, Surveyor
from analysis.tables import Frames, Origin
from testbed.errors import RunInvalid, TestbedError

T = TypeVar("T")
REAL = "real"
CHUNK_PACKETS = 1 << 17  # about 40 MB of memory


def load_run(run_dir: Path) -> Frames:
    """Read run.json, manifest.json and everything in raw/.

    Raises:
        RunInvalid: run.json or manifest.json is missing or is not JSON.
    """
    return RunDirectory(run_dir).load()


class RunDirectory:
    """Reader of one run directory; it remembers what it read and what it could not.

    Args:
        path: the directory that holds run.json, manifest.json and raw/.
        chunk_packets: how many packets to work on at once. The results do not depend on it.
    """

    def __init__(self, path: Path, chunk_packets: int = CHUNK_PACKETS) -> None:
        self.path = path
        self.chunk_packets = chunk_packets
        # Where there is room for the captures there is room for what is kept of them.
        self.spill = path if os.access(path, os.W_OK) else None
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
            script_log=self._script_log(),
            reads=self._reads(),
            inspected=self._inspected(),
            inspections=self._inspections(),
            passages=self._passages(),
            blocks=self._blocks(),
            timers=self._timers(),
            machine=self._machine(),
            passage=self._passage(),
            wifi=self._wifi(),
            radio=self._radio(),
            problems=self.problems,
            sources=sorted(self.sources),
        )

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
            lines = self._read("links.jsonl", _json_lines, none)
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

    def _script_log(self) -> list[dict[str, Any]]:
        """Read what a path manager with a script saw and did."""
        manager = self.run.get("path_manager")
        none: list[dict[str, Any]] = []
        return (
            self._read(f"{manager['node']}.path_manager.jsonl", _json_lines, none)
            if manager
            else []
        )

    def _reads(self) -> pd.DataFrame:
        """Read what the receivers of a migration read when."""
        parts = [tables.empty(tables.READ_COLUMNS)]
        workload = self.run.get("workload") or {}
        flows = workload["flows"] if workload.get("name") == "migrate" else []
        if workload.get("name") in ("middlebox", "interference"):
            flows = [{"name": "download", "peer": workload["receiver"]}]
        for flow in flows:
            reads = self._read(f"migrate.{flow['name']}.reads.bin", parse_reads, None)
            if reads is not None:
                frame = pd.DataFrame({"flow": flow["name"], "bytes": reads["bytes"]})
                t_ns = reads["t_ns"].astype(np.int64) - self.start_ns
                origin = self._origin(
                    flow["peer" if flow["name"] == "download" else "machine"]["node"]
                )
                parts.append(tables.with_keys(frame.astype(tables.READ_COLUMNS), origin, t_ns))
        return tables.concat(parts)

    def _inspected(self) -> dict[str, dict[str, int]]:
        """Read what the middleboxes counted."""
        nodes = (self.run.get("workload") or {}).get("middleboxes") or {}
        none: dict[str, int] = {}
        return {node: self._read(f"{node}.nft.json", parse_nft, none) for node in nodes}

    def _inspections(self) -> pd.DataFrame:
        """Read what inspectors logged over time."""
        none = inspection.log_rows(b"", "", self.start_ns)
        parts = [none]
        for node in (self.run.get("workload") or {}).get("logs") or []:
            parse = partial(inspection.log_rows, node=node, start_ns=self.start_ns)
            parts.append(self._read(f"{node}.inspector.bin", parse, none))
        return pd.concat(parts, ignore_index=True)

    def _passages(self) -> dict[str, pd.DataFrame]:
        """Read the captures at middleboxes."""
        nodes = (self.run.get("workload") or {}).get("middleboxes") or {}
        parse = partial(inspection.passages, start_ns=self.start_ns)
        none = inspection.no_passages()
        captures = [one for one in self.run.get("captures", []) if one["node"] in nodes]
        return {one["node"]: self._read(one["file"], parse, none) for one in captures}

    def _passage(self) -> dict[str, list[Seen]]:
        """Read the segments on both sides of a middlebox that interferes."""
        workload = self.run.get("workload") or {}
        if workload.get("name") != "interference":
            return {}
        if workload["act"] is not None:
            self._read("m.nfqueue.txt", parse_queue, 0)  # what it lacks is a problem of the run
        port, none = workload["server"]["port"], list[Seen]()

        def parse(raw: bytes) -> list[Seen]:
            data = np.frombuffer(raw, dtype=np.uint8)
            found = parse_segments(data, lambda one: port in (one.source_port, one.target_port))
            return [Seen(seen.t_ns - self.start_ns, seen.segment) for seen in found]

        return {side: self._read(file, parse, none) for side, file in workload["captures"].items()}

    def _blocks(self) -> pd.DataFrame | None:
        """Read the time-stamped blocks, if the workload recorded some."""
        workload = self.run.get("workload") or {}
        if not workload.get("record_blocks"):
            return None
        receivers = receiving_nodes(workload)

        def rows(raw: bytes) -> pd.DataFrame:
            return block_rows(parse_blocks(raw), self.run_id, self.start_ns, receivers)

        files = sorted((self.path / "raw").glob("*.blocks.bin"))
        parts = [self._read(file.name, rows, None) for file in files]
        found = [part for part in parts if part is not None]
        return tables.concat(found) if found else None

    def _wifi(self) -> dict[str, Any]:
        """Read what only a run among access points records."""
        radio = self.run.get("radio")
        if not radio:
            return {}
        none: dict[str, Any] = {}
        found: dict[str, Any] = {"drained": self._read("links.drained.json", json.loads, none)}
        if radio["slots"] or (radio["scans"] and not has_radios(self.run)):
            closed: list[tuple[float, list[str]]] = []
            found["gate"] = self._read("gate.jsonl", parse_gate, closed)
        if radio["probe_s"]:
            found["probes"] = self._read("probes.bin", parse_probes, parse_probes(b""))
            found["asked"] = self._read("probes.json", json.loads, none)
        if self.run["workload"]["name"] == "udp":
            found["packets"] = self._read("udp.bin", parse_packets, parse_packets(b""))
        if "packets" in found or "probes" in found:
            found["start"] = self._read("links.start.json", json.loads, none)
        return found

    def _radio(self) -> RadioEvidence:
        """Read what was said on the air, and what access points and NICs say of it."""
        if not has_radios(self.run):
            return RadioEvidence()
        frames = self._read("radio.pcap", parse_radio, AirFrames([], 0, 0))
        none: list[dict[str, Any]] = []
        return RadioEvidence(
            log=self._read("radio.jsonl", _json_lines, none),
            acceptances=frames.acceptances,
            access_points=self._texts(".hostapd.txt"),
            nics=self._texts(".wpa_supplicant.txt"),
            asleep=frames.asleep,
        )

    def _texts(self, suffix: str) -> dict[str, str]:
        """Return the logs of a kind, by whose they are."""
        files = sorted((self.path / "raw").glob(f"*{suffix}"))
        return {
            file.name.removesuffix(suffix): self._read(
                file.name, lambda raw: raw.decode(errors="replace"), ""
            )
            for file in files
        }

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

    def _wants(self, collector: str) -> bool:
        return collector in (self.run.get("collectors") or {})


def _json_lines(raw: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in raw.splitlines() if line.strip()]


def path_addresses(path: dict[str, Any]) -> list[str]:
    """Return the addresses that a path's interface has, or carries, at some time in the run."""
    own = list(path.get("addresses") or [path["address"]])
    return own + list(path.get("tunnelled") or [])
