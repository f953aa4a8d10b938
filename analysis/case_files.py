# SPDX-License-Identifier: Apache-2.0
"""Read what only some use cases record, each into what the analysis of that use case takes."""

import json
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from analysis import inspection, tables
from analysis.parse.blocks import block_rows, parse_blocks, receiving_nodes
from analysis.parse.nfqueue import parse_queue
from analysis.parse.nft import parse_nft
from analysis.parse.radio import AirFrames, RadioEvidence, parse_radio
from analysis.parse.reads import parse_reads
from analysis.parse.segments import Seen, parse_segments
from analysis.parse.wifi import parse_gate, parse_packets, parse_probes
from analysis.radio import has_radios
from analysis.run_files import RunFiles, json_lines


class CaseFiles(RunFiles):
    """The files of one run, with what belongs to its use case."""

    def case_tables(self) -> dict[str, Any]:
        """Return fields of Frames, by name."""
        return {
            "script_log": self._script_log(),
            "reads": self._reads(),
            "inspected": self._inspected(),
            "inspections": self._inspections(),
            "passages": self._passages(),
            "blocks": self._blocks(),
            "passage": self._passage(),
            "wifi": self._wifi(),
            "radio": self._radio(),
        }

    def _script_log(self) -> list[dict[str, Any]]:
        """Read what a path manager with a script saw and did."""
        manager = self.run.get("path_manager")
        none: list[dict[str, Any]] = []
        return (
            self._read(f"{manager['node']}.path_manager.jsonl", json_lines, none) if manager else []
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
            log=self._read("radio.jsonl", json_lines, none),
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
