# SPDX-License-Identifier: Apache-2.0
"""A second address of a host, whose way through the network is another one, as plain data.

- By a list of segments (SRv6): the router next to the client wraps what goes to the address in
  IPv6 with the list (H.Encaps, RFC 8986), each segment's router sends it on to the next one (End),
  the last one unwraps it. What comes from the address goes the same way back.
- By a route to a transparent proxy, which takes it as its own.

The hosts know nothing of it.
"""

from typing import Any

# The block for the identifiers of segments (RFC 9602).
SEGMENT_BLOCK = "5f00:0"
TABLE, PRIORITY = 210, 90
PROXY_MARK = 1

# A router takes segment lists only where it is told to. No address but the ones given: nothing is
# sent that nobody asked for.
SYSCTLS: dict[str, Any] = {
    **{f"net.ipv6.conf.{name}.disable_ipv6": 0 for name in ("all", "default")},
    **{f"net.ipv6.conf.{name}.seg6_enabled": 1 for name in ("all", "default")},
    **{f"net.ipv6.conf.{name}.forwarding": 1 for name in ("all", "default")},
    "net.ipv6.conf.default.addr_gen_mode": 1,
}


def pin_by_segments(topology: dict[str, Any], node: str, address: str, routers: list[str]) -> None:
    """Give a node an address whose way to and from it is pinned.

    Args:
        topology: as in run.json; it is changed.
        routers: where packets to the address are wrapped, whom they visit, and where they are
            unwrapped.
    """
    segments = {name: f"{SEGMENT_BLOCK}:{number}::1" for number, name in enumerate(routers, 1)}
    first, *visited, last = routers
    forth = [segments[name] for name in [*visited, last]]
    back = [segments[name] for name in [*reversed(visited), first]]
    for router in routers:
        _prepare(topology, router, segments)
    _give_address(topology, node, last, address)
    topology["routes"][first].append({
        "destination": address, "prefix_length": 32, "segments": forth,
        "interface": _interface(topology, first, visited[0]),
    })  # fmt: skip
    _add(topology, "rules", last, {"from": address, "table": TABLE, "priority": PRIORITY})
    topology["routes"][last].append({
        "destination": "0.0.0.0", "prefix_length": 0, "segments": back, "table": TABLE,
        "interface": _interface(topology, last, visited[-1]),
    })  # fmt: skip


def segments_of(topology: dict[str, Any], router: str) -> list[str]:
    """Return the segments by which a router leads to an address that is pinned."""
    routes = topology["routes"][router]
    return next(list(entry["segments"]) for entry in routes if "segments" in entry)


def divert_to_proxy(
    topology: dict[str, Any], node: str, address: str, routers: list[str], client: str
) -> None:
    """Give a node an address which leads a client to a transparent proxy.

    Args:
        topology: as in run.json; it is changed.
        routers: the one next to the client, the proxy's, and the one next to the node.
        client: what the proxy sends to the address itself is led straight to it.
    """
    first, proxy, last = routers
    _give_address(topology, node, last, address)
    arriving = {"interface": _interface(topology, first, client)}
    _add(topology, "rules", first, {**arriving, "table": TABLE, "priority": PRIORITY})
    topology["routes"][first].append({
        "destination": address, "prefix_length": 32, "table": TABLE,
        "interface": _interface(topology, first, proxy), "gateway": None,
    })  # fmt: skip
    mark = {"mark": PROXY_MARK, "table": TABLE, "priority": PRIORITY}
    _add(topology, "rules", proxy, mark)


def _give_address(topology: dict[str, Any], node: str, router: str, address: str) -> None:
    own = {"interface": _interface(topology, node, router), "address": address}
    _add(topology, "addresses", node, {**own, "prefix_length": 32})


def _prepare(topology: dict[str, Any], router: str, segments: dict[str, str]) -> None:
    """Give a router its own segment and the routes to the others."""
    settings = topology.setdefault("sysctls", {})
    settings[router] = {**settings.get(router, {}), **SYSCTLS}
    others = {name: _interface(topology, router, name) for name in segments if name != router}
    own = {"interface": next(iter(others.values())), "address": segments[router]}
    _add(topology, "addresses", router, {**own, "prefix_length": 128})
    topology["routes"][router] += [
        {"destination": segments[name], "prefix_length": 128, "interface": interface}
        for name, interface in others.items()
    ]


def _add(topology: dict[str, Any], what: str, node: str, entry: dict[str, Any]) -> None:
    topology.setdefault(what, {}).setdefault(node, []).append(entry)


def _interface(topology: dict[str, Any], node: str, other: str) -> str:
    """Return the interface by which a node reaches another: their link, or as its routes say."""
    ends = {(link["a"], link["b"]): link for link in topology["links"]}
    if (node, other) in ends:
        return str(ends[node, other]["a_interface"])
    if (other, node) in ends:
        return str(ends[other, node]["b_interface"])
    links = [link for link in topology["links"] if other in (link["a"], link["b"])]
    networks = {link["a_address"].rpartition(".")[0] + ".0" for link in links}
    return next(
        str(entry["interface"])
        for entry in topology["routes"][node]
        if entry["destination"] in networks
    )
