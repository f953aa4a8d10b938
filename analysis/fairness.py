# SPDX-License-Identifier: Apache-2.0
"""How MPTCP shared with TCP, and which of its paths it used, after the warm-up.

Goodput of a flow is what its receiver's application read between the two marks. What a path carried
is what the sender's subflows on it had acknowledged, so what MPTCP sent on both counts on both.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from analysis.reasons import Reason, invalid
from analysis.tables import Frames

BITS, MEGA = 8, 1e6
BOTTLENECK, LOSS_RTT, TWO_BOTTLENECKS = "bottleneck", "loss-rtt", "two-bottlenecks"

# What is asked of a coupled congestion control: RFC 6356's goal 2 with room for one queue's chance,
# and its goal 1 against the best single path.
FAIR_SHARE, FAIR_BAND, LEAST_OF_BEST = 0.5, (0.45, 0.55), 0.80

# The path of the client that each rival is beside, and the one that TCP users need more.
PATH_OF = {"rival1": "first", "rival2": "second"}
CONGESTED = "second"

# What the table of runs takes from a summary.
RATES = (
    "mptcp_mbps", "tcp_mbps", "mptcp_share", "first_mbps", "second_mbps", "tcp_first_mbps",
    "tcp_second_mbps", "of_best_path", "congested_path_mbps",
)  # fmt: skip
NUMBERS = ("cc", "rival", *RATES)


def is_fairness_run(frames: Frames) -> bool:
    """Say whether the run is one of the judging scenes."""
    workload = frames.run.get("workload") or {}
    return workload.get("name") == "bulk" and "scene" in workload


def flow_table(frames: Frames) -> pd.DataFrame:
    """Return one row per flow: flow, host, transport, goodput_mbps after the warm-up."""
    workload = frames.run["workload"]
    found = {flow["id"]: flow for flow in _measured(frames)}
    rows = [
        {
            "run_id": frames.run_id,
            "flow": flow["id"],
            "host": flow["client"],
            "transport": flow["transport"],
            "goodput_mbps": _mbps(found.get(flow["id"]) or {}, workload["measured_s"]),
        }
        for flow in workload["flows"]
    ]
    return pd.DataFrame(rows)


def _measured(frames: Frames) -> list[dict[str, Any]]:
    return list((frames.manifest.get("workload") or {}).get("flows") or [])


def _mbps(got: dict[str, Any], seconds: float) -> float:
    marks = got.get("bytes_at_marks") or []
    return float((marks[1] - marks[0]) * BITS / seconds / MEGA) if len(marks) == 2 else 0.0


def path_rates(frames: Frames) -> pd.DataFrame:
    """Return what the client's subflows on each path had acknowledged: path, goodput_mbps."""
    workload = frames.run["workload"]
    seconds = workload["measured_s"]
    rows = [
        {
            "run_id": frames.run_id,
            "path": path["name"],
            "goodput_mbps": _acked_bytes(frames, path) * BITS / seconds / MEGA,
        }
        for path in frames.run["topology"]["paths"]
    ]
    return pd.DataFrame(rows)


def _acked_bytes(frames: Frames, path: dict[str, Any]) -> float:
    """Return what all subflows on a path had acknowledged between the marks, by their samples."""
    rows = frames.sockets[(frames.sockets["host"] == path["node"]) & frames.sockets["is_subflow"]]
    rows = rows[rows["local"].str.rpartition(":")[0].isin(path["addresses"])]
    marks_s, total = frames.run["workload"]["marks_s"], 0.0
    for _, samples in rows.groupby(["local", "remote"], observed=True):
        ordered = samples.sort_values("t_s")
        first, last = np.interp(marks_s, ordered["t_s"], ordered["acked_bytes"].astype("float64"))
        total += float(last - first)
    return total


def tables(frames: Frames) -> dict[str, pd.DataFrame]:
    """Return the tables of such a run, by the name of their files; {} for others."""
    if not is_fairness_run(frames):
        return {}
    return {"fair_flows": flow_table(frames), "path_rates": path_rates(frames)}


def summary(frames: Frames) -> dict[str, Any]:
    """Return the scene in a few numbers; {} for other runs.

    of_best_path is the goodput of MPTCP over that of the better of the TCP connections, one on each
    path; congested_path_mbps what all MPTCP users sent over the path that TCP users need more.
    """
    if not is_fairness_run(frames):
        return {}
    workload, flows = frames.run["workload"], flow_table(frames)
    is_tcp = flows["transport"] == "tcp"
    mptcp_mbps = float(flows.loc[~is_tcp, "goodput_mbps"].sum())
    tcp = flows[is_tcp].groupby(flows["host"].map(PATH_OF))["goodput_mbps"].sum()
    total_mbps, best_mbps = mptcp_mbps + float(tcp.sum()), float(tcp.max())
    paths = path_rates(frames).set_index("path")["goodput_mbps"]
    scene = workload["scene"]
    return {
        "scene": scene,
        "cc": frames.run["mptcp"]["congestion_control"],
        "rival": workload["rival"],
        "measured_s": workload["measured_s"],
        "goodput_mbps": mptcp_mbps,
        "mptcp_mbps": mptcp_mbps,
        "tcp_mbps": float(tcp.sum()),
        "mptcp_share": mptcp_mbps / total_mbps if total_mbps else None,
        **{f"{path}_mbps": float(rate) for path, rate in paths.items()},
        **{f"tcp_{path}_mbps": float(tcp[path]) if path in tcp else None for path in paths.index},
        "of_best_path": mptcp_mbps / best_mbps if scene == LOSS_RTT and best_mbps else None,
        "congested_path_mbps": float(paths[CONGESTED]) if scene == TWO_BOTTLENECKS else None,
    }


def check_fairness(frames: Frames) -> list[Reason]:
    """Every flow ran all the time, on all its paths, and TCP used its own congestion control."""
    if not is_fairness_run(frames):
        return []
    return [*_check_flows(frames), *_check_paths(frames), *_check_rivals(frames)]


def _check_paths(frames: Frames) -> list[Reason]:
    rates = path_rates(frames)
    return [
        invalid("fairness", f"path {path} carried no data in the time that was measured", path=path)
        for path in rates.loc[rates["goodput_mbps"] <= 0, "path"]
    ]


def _check_flows(frames: Frames) -> list[Reason]:
    found = []
    measured = {flow["id"]: flow for flow in _measured(frames)}
    for flow in frames.run["workload"]["flows"]:
        got = measured.get(flow["id"]) or {}
        who = f"flow {flow['id']} of {flow['client']}"
        marks = got.get("bytes_at_marks") or []
        if got.get("error"):
            found.append(invalid("fairness", f"{who} {got['error']}", flow=flow["id"]))
        elif len(marks) < 2 or marks[1] <= marks[0]:
            message = f"{who} carried no data in the time that was measured"
            found.append(invalid("fairness", message, flow=flow["id"], marks=marks))
        elif got.get("has_fallen_back"):
            found.append(invalid("fairness", f"{who} fell back to TCP", flow=flow["id"]))
        elif flow["transport"] == "mptcp" and got.get("subflows", 0) < len(PATH_OF):
            message = f"{who} had {got.get('subflows', 0)} of {len(PATH_OF)} subflows"
            found.append(invalid("fairness", message, flow=flow["id"]))
    return found


def _check_rivals(frames: Frames) -> list[Reason]:
    """The rivals' sockets use the congestion control of the experiment."""
    asked = frames.run["workload"]["rival"]
    rows = frames.sockets[frames.sockets["congestion_control"] != ""]
    used = set(rows.loc[rows["host"].isin([*PATH_OF]), "congestion_control"])
    if used == {asked}:
        return []
    said = ", ".join(sorted(used)) or "no socket of theirs was sampled"
    message = f"the TCP connections used another congestion control than {asked}: {said}"
    return [invalid("fairness", message, asked=asked, used=sorted(used))]


def judgements(runs: pd.DataFrame) -> list[str]:
    """Return what was found in each scene, a sentence per scene; [] without such runs.

    Args:
        runs: the usable rows of the table of runs.
    """
    if "mptcp_share" not in runs:
        return []
    found = []
    for scene, column, sentence in SENTENCES:
        rows = runs[(runs["mode"] == scene) & runs[column].notna()]
        means = rows.groupby("cc", sort=False)[column].agg(lambda v: float(v.astype(float).mean()))
        if len(means):
            found.append(sentence({str(cc): float(value) for cc, value in means.items()}))
    return found


def _shares(means: dict[str, float]) -> str:
    low, high = FAIR_BAND
    said = [f"{share:.1%} with {cc} ({judge_share(share)})" for cc, share in means.items()]
    text = f"At one bottleneck MPTCP takes {_listed(said)} of the goodput"
    return f"{text}; {low:.0%} to {high:.0%} count as fair."


def judge_share(share: float) -> str:
    """Say how a share of one bottleneck compares with what is asked of coupled control."""
    low, high = FAIR_BAND
    if low <= share <= high:
        return "fair"
    return "too much" if share > high else "too little"


def _best_paths(means: dict[str, float]) -> str:
    said = [f"{part:.0%} with {cc}" for cc, part in means.items()]
    text = f"Over two lossy paths MPTCP gets {_listed(said)} of what TCP gets on the better one"
    return f"{text}; at least {LEAST_OF_BEST:.0%} is asked of coupled control."


def _congested(means: dict[str, float]) -> str:
    said = [f"{rate:.2f} Mbit/s with {cc}" for cc, rate in means.items()]
    return f"Over the path that TCP users need more MPTCP gets {_listed(said)}."


def _listed(texts: list[str]) -> str:
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"


SENTENCES: tuple[tuple[str, str, Callable[[dict[str, float]], str]], ...] = (
    (BOTTLENECK, "mptcp_share", _shares),
    (LOSS_RTT, "of_best_path", _best_paths),
    (TWO_BOTTLENECKS, "congested_path_mbps", _congested),
)
