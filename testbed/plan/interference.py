# SPDX-License-Identifier: Apache-2.0
"""What interfering middleboxes do to MPTCP, one behaviour per cell, as plain data.

After M. Honda et al., "Is it still possible to extend TCP?" (IMC 2011) and C. Raiciu et al., "How
hard can it be?" (NSDI 2012).
"""

from dataclasses import dataclass, field
from typing import Any

from testbed.errors import PlanError
from testbed.packet import ADD_ADDR, DSS
from testbed.plan.modes import Use
from testbed.render import render
from testbed.spec.model import ExperimentSpec
from testbed.spec.workloads import InterferenceSpec
from testbed.topology import near_miss

CLIENT, SERVER, BOX = "client", "server", "m"
MIDDLEBOX, DIRECT = "middlebox", "direct"
PORT = 7001
CHECKSUM = "net.mptcp.checksum_enabled"
ANNOUNCED_ID = 9
SYN, SYN_ACK = "tcp flags & (syn | ack) == syn", "tcp flags & (syn | ack) == syn | ack"
HOLE_EVERY = 200


@dataclass(frozen=True)
class Behaviour:
    """A behaviour of the middlebox, and the connection that meets it.

    Attributes:
        act: of the middlebox's program (testbed.workloads.interference_acts); None: nftables do it.
        is_mid: the act begins in mid-connection, after the workload's `after`.
        rule: what nftables match to strip the option.
        is_nat: nftables translate the client's address and port.
        paths: of the client; the connection begins on the first.
        has_checksum: DSS checksums are on.
        is_announced: the server announces its second address.
        is_upload: the client sends and the server receives; all others are downloads.
    """

    name: str
    act: dict[str, Any] | None = None
    is_mid: bool = False
    rule: str = ""
    is_nat: bool = False
    paths: tuple[str, ...] = (MIDDLEBOX, DIRECT)
    has_checksum: bool = False
    is_announced: bool = False
    is_upload: bool = False
    # Of the capture: what has to be true beyond the middlebox (analysis.interference_evidence).
    evidence: dict[str, Any] = field(default_factory=dict)


def _strip_syn(name: str, flags: str, subtype: int, *paths: str) -> Behaviour:
    evidence = {"kind": "stripped", "subtype": subtype, "is_ack": flags == SYN_ACK, "is_syn": True}
    rule = f"{flags} tcp option mptcp subtype {subtype}"
    return Behaviour(name, rule=rule, paths=paths, evidence=evidence)


def _strip_data(name: str, subtype: int, **more: Any) -> Behaviour:
    act = {"name": "strip_option", "subtype": subtype}
    return Behaviour(name, act, evidence={"kind": "stripped", "subtype": subtype}, **more)


def _payload(name: str, *, is_longer: bool, **more: Any) -> Behaviour:
    act = {"name": "change_payload", "is_longer": is_longer}
    return Behaviour(name, act, is_mid=True, evidence={"kind": "edited"}, **more)


ONLY = (MIDDLEBOX,)
SUMMED_ONLY: dict[str, Any] = {"has_checksum": True, "paths": ONLY}
SUMMED: dict[str, Any] = {"has_checksum": True}

_ALL = (
    Behaviour("control", evidence={"kind": "same"}),
    Behaviour("control-announced", paths=ONLY, is_announced=True, evidence={"kind": "same"}),
    Behaviour("nat", is_nat=True, evidence={"kind": "translated"}),
    Behaviour("rewrite-seq", {"name": "rewrite_sequence"}, evidence={"kind": "renumbered"}),
    Behaviour("split", {"name": "split", "is_copied": True}, evidence={"kind": "split"}),
    Behaviour(
        "split-options-once", {"name": "split", "is_copied": False}, evidence={"kind": "split"}
    ),
    Behaviour("coalesce", {"name": "coalesce"}, evidence={"kind": "joined"}),
    Behaviour("hole", {"name": "hold_to_order", "every": HOLE_EVERY}, evidence={"kind": "ordered"}),
    _strip_data("strip-add-addr", ADD_ADDR, paths=ONLY, is_announced=True),
    Behaviour(
        "drop-add-addr",
        {"name": "drop_option", "subtype": ADD_ADDR},
        paths=ONLY,
        is_announced=True,
        evidence={"kind": "dropped", "subtype": ADD_ADDR},
    ),
    _strip_syn("strip-capable-syn", SYN, 0, MIDDLEBOX, DIRECT),
    _strip_syn("strip-capable-synack", SYN_ACK, 0, MIDDLEBOX, DIRECT),
    _strip_syn("strip-join-syn", SYN, 1, DIRECT, MIDDLEBOX),
    _strip_syn("strip-join-synack", SYN_ACK, 1, DIRECT, MIDDLEBOX),
    _strip_data("strip-dss-from-start", DSS, paths=ONLY),
    _strip_data("strip-dss-from-start-upload", DSS, paths=ONLY, is_upload=True),
    _strip_data("strip-dss-only", DSS, is_mid=True, paths=ONLY),
    _strip_data("strip-dss-one-of-two", DSS, is_mid=True),
    _payload("payload", is_longer=False),
    _payload("payload-checksum-only", is_longer=False, **SUMMED_ONLY),
    _payload("payload-checksum-one-of-two", is_longer=False, **SUMMED),
    _payload("payload-longer", is_longer=True, paths=ONLY),
    _payload("payload-longer-checksum-only", is_longer=True, **SUMMED_ONLY),
    _payload("payload-longer-checksum-one-of-two", is_longer=True, **SUMMED),
)
BEHAVIOURS = {behaviour.name: behaviour for behaviour in _ALL}


def behaviour_of(spec: ExperimentSpec) -> Behaviour:
    """Return the behaviour, which an experiment names as its mode.

    Raises:
        PlanError: there is none of that name.
    """
    name = spec.mode or "control"
    if name not in BEHAVIOURS:
        hint = near_miss(name, BEHAVIOURS) or f" (there are {', '.join(BEHAVIOURS)})"
        raise PlanError(f'mode: "{name}" is not a behaviour of a middlebox{hint}')
    return BEHAVIOURS[name]


def interference_use(spec: ExperimentSpec, topology: dict[str, Any]) -> Use:
    """Return how the client uses its paths.

    Raises:
        PlanError: there is no such behaviour, or the network has not what it needs.
    """
    behaviour = behaviour_of(spec)
    known = [path["name"] for path in topology["paths"]]
    boxes = [node["name"] for node in topology["nodes"] if node["kind"] == "router"]
    if missing := [name for name in (MIDDLEBOX, DIRECT) if name not in known]:
        raise _wrong_network(spec, f'a path "{missing[0]}"')
    if BOX not in boxes:
        raise _wrong_network(spec, f'a router "{BOX}"')
    flags = {path: ["subflow"] for path in behaviour.paths}
    return Use("mptcp", flags, at_start=list(behaviour.paths), first_path=behaviour.paths[0])


def _wrong_network(spec: ExperimentSpec, what: str) -> PlanError:
    return PlanError(
        f'the workload "interference" needs {what}, which the topology "{spec.topology_name}" '
        'does not have; use "interference"'
    )


def interference_sysctls(spec: ExperimentSpec) -> dict[str, Any]:
    """Return the sysctls of all nodes that a behaviour needs; {} for any other workload."""
    if not isinstance(spec.workload, InterferenceSpec):
        return {}
    return {CHECKSUM: int(behaviour_of(spec).has_checksum)}


def plan_interference(spec: ExperimentSpec, topology: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return "workload" of run.json."""
    workload, behaviour = spec.workload, behaviour_of(spec)
    assert isinstance(workload, InterferenceSpec)
    if behaviour.is_mid and workload.after >= workload.size:
        raise PlanError(
            f"workload: {behaviour.name} begins after {workload.after} bytes, but only "
            f"{workload.size} are downloaded; lower `after` or raise `size`"
        )
    _, far = _ends(topology, BOX)
    address = next(p["address"] for p in topology["paths"] if p["name"] == behaviour.paths[0])
    shared = {"port": PORT, "transport": "mptcp", "is_session": False, "seed": seed}
    server_address = far["other_address"]
    after_bytes = workload.after if behaviour.is_mid else 0
    return {
        "behaviour": behaviour.name,
        "evidence": behaviour.evidence,
        "file_bytes": workload.size,
        "after_bytes": after_bytes,
        "client": CLIENT,
        "middlebox": BOX,
        "middleboxes": {BOX: _rules(behaviour, far["address"])},
        "logs": [],
        "proxy": None,
        "act": _act(behaviour, seed, after_bytes),
        "announced": _announced(topology) if behaviour.is_announced else {},
        "captures": {
            "client": f"{CLIENT}.{MIDDLEBOX}.pcap",
            "server": f"{SERVER}.{far['other_interface']}.pcap",
        },
        **_roles(behaviour, {**shared, "size_bytes": workload.size}, server_address, address),
    }


def _roles(
    behaviour: Behaviour, shared: dict[str, Any], server_address: str, client_address: str
) -> dict[str, dict[str, Any]]:
    """Return both ends: "server" is the one that sends, of an upload too."""
    listening = {"node": SERVER, **shared, "is_listening": True}
    connecting = {
        "node": CLIENT,
        **shared,
        "is_listening": False,
        "address": server_address,
        "source": [client_address],
    }
    sender, receiver = (connecting, listening) if behaviour.is_upload else (listening, connecting)
    return {
        "server": {**sender, "is_receiving": False},
        "receiver": {**receiver, "is_receiving": True},
    }


def _rules(behaviour: Behaviour, far_address: str) -> str:
    return render(
        "interference.nft.j2",
        nat_address=far_address if behaviour.is_nat else "",
        port=PORT,
        rule=behaviour.rule,
        is_queued=behaviour.act is not None,
    )


def _act(behaviour: Behaviour, seed: int, after_bytes: int) -> dict[str, Any] | None:
    if behaviour.act is None:
        return None
    own = {"seed": seed} if behaviour.act["name"] == "rewrite_sequence" else {}
    return {**behaviour.act, "port": PORT, "after_bytes": after_bytes, **own}


def _announced(topology: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return the endpoint by which the server announces its address on the other path."""
    _, far = _ends(topology, "r")
    endpoint = {
        "address": far["other_address"],
        "identifier": ANNOUNCED_ID,
        "flags": ["signal"],
        "interface": far["other_interface"],
    }
    return {SERVER: [endpoint]}


def _ends(topology: dict[str, Any], router: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the router's ends of its links to the client and to the server."""
    found = {}
    for link in topology["links"]:
        for side, other in (("a", "b"), ("b", "a")):
            if link[side] == router:
                found[link[other]] = {
                    "address": link[f"{side}_address"],
                    "other_address": link[f"{other}_address"],
                    "other_interface": link[f"{other}_interface"],
                }
    return found[CLIENT], found[SERVER]
