# SPDX-License-Identifier: Apache-2.0
"""MPTCP on the emulated hosts: sysctls, limits, endpoints and a routing table per path."""

from typing import Any

from testbed.emulation.namespace import knows_sysctl, read_sysctl, write_sysctl
from testbed.emulation.network import Network, Node
from testbed.errors import BackendError, PrerequisiteError
from testbed.netlink import route
from testbed.netlink.mptcp import Endpoint, PathManager

FIRST_TABLE = 100
RULE_PRIORITY = 100
ANYWHERE = "0.0.0.0"
ALLOWED_CONTROLS = "net.ipv4.tcp_allowed_congestion_control"

# The path manager's greatest limits so far are 8 (Linux 6.12) and 64 (7.3).
PROBED_LIMITS = (255, 64, 32, 16, 8, 4, 2)

PATH_MANAGER, PATH_MANAGER_TYPE = "net.mptcp.path_manager", "net.mptcp.pm_type"
PATH_MANAGER_TYPES = {"kernel": 0, "userspace": 1}

# No kernel has taken fewer endpoints; a refusal before that has another cause.
LEAST_ENDPOINTS = 8


def sysctls(mptcp: dict[str, Any]) -> dict[str, Any]:
    """Return the sysctls of every node.

    blackhole_timeout is 0 because the kernel would otherwise switch MPTCP off for an hour after
    it lost a few SYN packets, for example in a tunnel.
    """
    return {
        "net.ipv4.tcp_congestion_control": mptcp["congestion_control"],
        "net.mptcp.enabled": 1,
        "net.mptcp.blackhole_timeout": 0,
        **_path_manager_sysctl(mptcp["path_manager"]),
        "net.mptcp.scheduler": mptcp["scheduler"],
        "net.mptcp.stale_loss_cnt": mptcp["stale_loss_count"],
    }


def _path_manager_sysctl(name: str) -> dict[str, Any]:
    """Return how a path manager is chosen; before Linux 6.15 by a number."""
    if knows_sysctl(PATH_MANAGER) or not knows_sysctl(PATH_MANAGER_TYPE):
        return {PATH_MANAGER: name}
    return {PATH_MANAGER_TYPE: PATH_MANAGER_TYPES[name]}


def allow_control(name: str) -> None:
    """Let namespaces have a congestion control as their default.

    The kernel restricts some, such as dctcp, to the first namespace.
    """
    allowed = read_sysctl(ALLOWED_CONTROLS).split()
    if name not in allowed:
        write_sysctl(ALLOWED_CONTROLS, " ".join([*allowed, name]))


class MultipathClient:
    """The node with several paths, whose addresses come and go.

    Args:
        network: the live network.
        paths: of one node, as in run.json.
        flags: of the endpoint of each path that has one, by path.
    """

    def __init__(
        self, network: Network, paths: list[dict[str, Any]], flags: dict[str, tuple[str, ...]]
    ) -> None:
        self.node = network.nodes[paths[0]["node"]]
        self._flags = flags
        self._paths = {path["name"]: path for path in paths}
        self._numbers = {path["name"]: number for number, path in enumerate(paths, 1)}
        self._links = {path["name"]: network.links[path["hops"][0][0]] for path in paths}
        # path -> the address that it has now
        self._addresses = {path["name"]: path["address"] for path in paths}

    def set_up(self) -> None:
        """Give every path its routes, and its endpoint if it has one."""
        for name, path in self._paths.items():
            for address in path["addresses"]:
                self.node.rtnl.add(
                    route.new_rule_from(address, self._table(name), RULE_PRIORITY),
                    f"route what comes from {address}",
                )
            self._add_routes(name)
        for number, name in enumerate(self._flags):
            self._add_first(name, number)

    def _add_first(self, name: str, number: int) -> None:
        """Add an endpoint when there are `number` of them already.

        Raises:
            PrerequisiteError: the kernel takes no more.
        """
        try:
            self._endpoints().add_endpoint(self._endpoint(name))
        except BackendError as error:
            if number < LEAST_ENDPOINTS:
                raise
            raise PrerequisiteError(
                f"mptcp.endpoints: this kernel takes {number} endpoints per host, asked were "
                f"{len(self._flags)}; give fewer paths an endpoint or use a newer kernel"
            ) from error

    def keep_only(self, names: list[str]) -> None:
        """Take the addresses of all other paths away."""
        for name in self._paths:
            if name not in names:
                self.address_gone(name)

    def address_of(self, name: str) -> str:
        """Return the address that the node has on a path now."""
        if name not in self._addresses:
            raise BackendError(f"{self.node.name} has no address on the path {name} now")
        return str(self._addresses[name])

    def address_gone(self, name: str) -> None:
        """Do what a laptop does when it has lost a network: drop the address and its endpoint."""
        if name in self._flags:
            self._endpoints().delete_endpoint(self._endpoint(name))
        address = self.address_of(name)
        prefix_length = self._links[name]["prefix_length"]
        self.node.rtnl.request(
            route.delete_address(self._index(name), address, prefix_length),
            f"take the address {address}",
        )
        del self._addresses[name]

    def address_back(self, name: str, address: str, flags: tuple[str, ...] | None = None) -> None:
        """Do what a laptop does when it has joined a network again.

        Args:
            name: of the path.
            address: that it gets there.
            flags: of the endpoint, if it is not to have those that it had last.
        """
        if flags is not None:
            self._flags[name] = flags
        self.node.rtnl.request(
            route.new_address(self._index(name), address, self._links[name]["prefix_length"]),
            f"give the address {address}",
        )
        self._addresses[name] = address
        self._add_routes(name)
        if name in self._flags:
            self._endpoints().add_endpoint(self._endpoint(name))

    def leave_by(self, name: str, other: str) -> None:
        """Let what comes from the address on a path leave by another path's interface."""
        number, index = self._numbers[name], self._index(name)
        for place in ({"table": self._table(name)}, {"metric": 100 * number}):
            self.node.rtnl.add(
                route.delete_route(ANYWHERE, 0, index, **place), f"leave the path {name}"
            )
        self._route(name, other)

    def endpoint_add(self, name: str, flags: tuple[str, ...]) -> None:
        """Add an endpoint for a path."""
        self._flags[name] = flags
        self._endpoints().add_endpoint(self._endpoint(name))

    def endpoint_remove(self, name: str) -> None:
        """Remove the endpoint of a path."""
        self._endpoints().delete_endpoint(self._endpoint(name))
        del self._flags[name]

    def endpoint_backup(self, name: str, is_backup: bool) -> None:
        """Make the endpoint of a path a backup, or no backup."""
        self._endpoints().set_backup(self._endpoint(name), is_backup)
        others = tuple(flag for flag in self._flags[name] if flag != "backup")
        # Kept for the endpoint that comes with the next address.
        self._flags[name] = (*others, "backup") if is_backup else others

    def _add_routes(self, name: str) -> None:
        """Add the default routes by this path: for its own address, and for all others."""
        self._route(name, name)

    def _route(self, name: str, by: str) -> None:
        """Add the default routes of a path, through the interface of it or of another one."""
        link, number, index = self._links[by], self._numbers[name], self._index(by)
        is_a = link["a"] == self.node.name
        gateway = link["b_address"] if is_a else link["a_address"]
        # A route with a source address goes when the address goes.
        source = self.address_of(name)
        for place in ({"table": self._table(name)}, {"metric": 100 * number}):
            self.node.rtnl.add(
                route.new_route(
                    ANYWHERE, 0, index, gateway, source=source, is_onlink=by != name, **place
                ),
                f"route by the path {name}",
            )
        self.node.rtnl.flush()

    def _table(self, name: str) -> int:
        return FIRST_TABLE + self._numbers[name]

    def _endpoints(self) -> PathManager:
        if self.node.path_manager is None:
            raise BackendError(f"the node {self.node.name} is a router and has no endpoints")
        return self.node.path_manager

    def _endpoint(self, name: str) -> Endpoint:
        if name not in self._flags:
            raise BackendError(f"the path {name} of {self.node.name} has no MPTCP endpoint")
        return Endpoint(
            self.address_of(name), self._numbers[name], self._flags[name], self._index(name)
        )

    def _index(self, name: str) -> int:
        return self.node.indexes[self._paths[name]["interface"]]


def add_endpoints(network: Network, endpoints: dict[str, list[dict[str, Any]]]) -> None:
    """Add the MPTCP endpoints of many hosts, which stay as they are.

    Args:
        network: the live network.
        endpoints: by host, as in run.json's topology.
    """
    for name, described in endpoints.items():
        node = network.nodes[name]
        if node.path_manager is None:
            raise BackendError(f"the node {name} is a router and has no endpoints")
        node.path_manager.add_endpoints(
            Endpoint(
                one["address"],
                one["identifier"],
                tuple(one["flags"]),
                node.indexes[one["interface"]],
            )
            for one in described
        )


def set_limits(nodes: dict[str, Node], limits: dict[str, int]) -> None:
    """Set the limits of the path manager on every host; both ends have their own.

    Raises:
        PrerequisiteError: the kernel takes less; the message says how much.
    """
    for node in nodes.values():
        if node.path_manager is None:
            continue
        try:
            node.path_manager.set_limits(limits["subflows"], limits["add_addr_accepted"])
        except BackendError as error:
            most = probe_limit(node.path_manager)
            if max(limits.values()) <= most:
                raise
            asked = f"{limits['subflows']} subflows and {limits['add_addr_accepted']} addresses"
            raise PrerequisiteError(
                f"mptcp.limits: this kernel takes at most {most} of each, asked were {asked}; "
                "lower the limits or use a newer kernel"
            ) from error


def probe_limit(path_manager: PathManager) -> int:
    """Return the greatest limit of additional subflows that the kernel takes, of those known."""
    for limit in PROBED_LIMITS:
        try:
            path_manager.set_limits(limit, limit)
        except BackendError:
            continue
        return limit
    return 0


def check_known(place: str, name: str, sysctl: str) -> None:
    """Refuse what the kernel does not have.

    Args:
        place: the key of the experiment file that asks for it.
        name: of a congestion control, or of a packet scheduler.
        sysctl: that lists those which the kernel has.

    Raises:
        PrerequisiteError: it has others; the message lists them.
    """
    known = read_sysctl(sysctl).split()
    if name not in known:
        raise PrerequisiteError(f'{place}: this kernel has no "{name}"; it has {", ".join(known)}')
