# SPDX-License-Identifier: Apache-2.0
"""Say in words what a run is, from its run.json: the same words in every figure."""

from typing import Any

from analysis import ride, style

COUPLED = ("lia", "olia", "balia", "wvegas", "coupled")
WORKLOADS = {"bulk": "bulk transfer", "iperf3": "iperf3 transfer",
             "migrate": "migration of a virtual machine",
             "middlebox": "download past middleboxes",
             "interference": "download past an interfering middlebox"}  # fmt: skip
MAX_PATHS = 6  # that a figure can tell apart


def path_order(run: dict[str, Any]) -> tuple[str, ...]:
    """Return the paths from the bottom of a stack up: those that are always there first."""
    names = [path["name"] for path in (run.get("topology") or {}).get("paths") or []]
    changing = {coverage.path for coverage in ride.coverages(run)}
    return tuple(sorted(names, key=lambda name: (name in changing, names.index(name))))


def is_sized(run: dict[str, Any]) -> bool:
    """Return whether the workload ends with its last byte, not when its time is up."""
    workload = run.get("workload") or {}
    return any(part.get("size_bytes") for part in (workload, *(workload.get("flows") or [])))


def task(run: dict[str, Any], has_size: bool = True) -> str:
    """Return what was done, such as "download of 10 MB"."""
    workload = run.get("workload") or {}
    size = workload.get("size_bytes") if has_size else None
    if pattern := workload.get("pattern"):
        hosts = run["topology"]["datacenter"]["hosts"]
        return f"{str(pattern).replace('_', ' ')} traffic among {len(hosts)} servers"
    if "scene" in workload and workload.get("name") == "bulk":
        return "MPTCP beside TCP"
    name = str(workload.get("name") or "run")
    return WORKLOADS.get(name, name) + (f" of {size / 1e6:.3g} MB" if size else "")


def subject(run: dict[str, Any], has_size: bool = True) -> str:
    """Return what was done in which network, such as "download of 10 MB over WiFi and 3G"."""
    labels = [style.path_style(path).label for path in path_order(run)[::-1]]
    if (run.get("workload") or {}).get("name") == "migrate":
        return task(run)  # its paths are the two places
    over = " and ".join(labels) if len(labels) <= MAX_PATHS else f"{len(labels)} paths"
    return task(run, has_size) + (f" over {over}" if labels else "")


def title(run: dict[str, Any]) -> str:
    """Return what one run was, and how; a mode's name says which paths it uses."""
    mode = style.mode_style(run.get("mode") or "")
    if mode:
        return f"{mode.label}: {task(run)}"
    transport = run.get("transport") or ("mptcp" if run.get("mptcp") else "tcp")
    return f"{str(transport).upper()}: {subject(run)}"


def control_of(run: dict[str, Any]) -> str:
    """Return the congestion control that the run was asked to use, "" if none was asked for."""
    return str((run.get("mptcp") or {}).get("congestion_control") or "")


def describe_control(control: str) -> str:
    """Return a congestion control and whether it couples the subflows of a connection."""
    coupled = "coupled" if control.lower() in COUPLED else "uncoupled"
    return f"{control} ({coupled})"


def coupling_notes(run: dict[str, Any], manifest: dict[str, Any]) -> list[str]:
    """Say, of an ordinary kernel's run, that it did not couple the subflows of a connection.

    Such a kernel has no coupled congestion control of its own, so nobody may have chosen this.
    """
    control = control_of(run)
    is_multipath = run.get("transport") == "mptcp" and len(run.get("expected_use") or {}) > 1
    if manifest.get("backend", "lab") == "lab" or not is_multipath or control in COUPLED:
        return []
    return [
        f"the congestion control {control} is uncoupled: on a link that they share, the subflows "
        "of a connection take more than one TCP connection would"
    ]


def models(run: dict[str, Any]) -> tuple[str, ...]:
    """Return what stands for reality in the run, one sentence each."""
    if not run:
        return ()
    traced = [
        f"the {style.path_style(link.path).label} {name} follows the trace {way['trace']['file']}"
        for link in ride.access_links(run)
        for name, way in (("downlink", link.rx), ("uplink", link.tx))
        if (way.get("trace") or {}).get("file")
    ]
    first = f"Model: {', '.join(traced)}." if traced else f"Model: {_rates(run)}."
    if ride.coverages(run):
        return (first, "Station times are the experiment's, not a recording.")
    return (first,)


def _rates(run: dict[str, Any]) -> str:
    """Say what the rates of links follow that follow no trace."""
    if radio := run.get("radio"):
        return f"rates follow the station's place, by a radio model (level {radio['level']})"
    if any("rate_bps" in event for event in run.get("events") or []):
        return "links whose rate changes as the experiment says"
    return "links of constant rate"
