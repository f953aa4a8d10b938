# SPDX-License-Identifier: Apache-2.0
"""A path manager in userspace: it hears of the connections of one node and follows a script.

A step of the script is plain data, {"do": "add_subflow", "path": "b", ...}. It is due at a time
("at_s"), or when something happens ("when"): an event of the kernel on a connection, or a phase of
the workload. "of" names the path that an event's subflow must be on, "of_address" where it must
lead to; "after_s" waits a while.

A timed step, and one that waits for a phase, is for all connections of the node; one that waits
for an event is for the connection that the event is of. What was done is logged, and also what the
kernel refused: a connection that cannot be changed goes on as it is.
"""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any

from testbed.emulation.mptcp import MultipathClient
from testbed.errors import BackendError
from testbed.netlink.mptcp import subscribe_events
from testbed.netlink.mptcp_commands import ConnectionManager, End, Source
from testbed.netlink.mptcp_events import Event, decode_events
from testbed.timetable import Timetable

Step = dict[str, Any]
Subflow = tuple[End, End]

# What a step may wait for: events of the connection as a whole, which have the same name, and
# those of a subflow. The first subflow of a connection has no event of its own.
CONNECTION_EVENTS = ("established", "closed", "announced", "removed")
SUBFLOW_EVENTS = {
    "established": ("established", "subflow_established"),
    "closed": ("subflow_closed",),
    "priority": ("subflow_priority",),
}


@dataclass
class Connection:
    """What is known of a connection.

    Attributes:
        token: at this end.
        local, remote: the ends of its first subflow.
        subflows: the ends of those that are established.
        identifiers: address ids, by our address.
    """

    token: int
    local: End
    remote: End
    subflows: list[Subflow] = field(default_factory=list)
    identifiers: dict[str, int] = field(default_factory=dict)

    def identifier(self, address: str) -> int:
        """Return the id of an address of ours, the next free one for a new address."""
        return self.identifiers.setdefault(address, len(self.identifiers) + 1)


class ScriptedPathManager:
    """Carries out a script on the connections of the node that has paths.

    Args:
        client: the node with paths.
        paths: as in run.json.
        steps: the script.
        log: a line of JSON for each thing that was seen or done.
    """

    def __init__(
        self, client: MultipathClient, paths: list[dict[str, Any]], steps: list[Step], log: Path
    ) -> None:
        self._client = client
        self._paths = {address: path["name"] for path in paths for address in path["addresses"]}
        self._interfaces = {path["name"]: path["interface"] for path in paths}
        self._steps = steps
        with client.node.namespace.inside():
            self._events = subscribe_events()
            self._kernel = ConnectionManager()
        self._log: IO[str] = log.open("w")
        self._timetable = Timetable()
        self._start_ns = 0
        self.connections: dict[int, Connection] = {}
        # Called after each event, with what happened.
        self.listener: Callable[[Event], None] | None = None

    def fileno(self) -> int:
        """Return the descriptor that becomes readable with an event."""
        return self._events.fileno()

    def start(self, timetable: Timetable, start_ns: int) -> None:
        """Enter the timed steps into a timetable, which is used for delays too."""
        self._timetable, self._start_ns = timetable, start_ns
        for step in self._steps:
            if step["at_s"] is not None:
                at_ns = start_ns + round(step["at_s"] * 1e9)
                timetable.at(at_ns, partial(self._for_all, step))

    def take(self) -> None:
        """Act upon the events that have come."""
        while block := self._events.receive():
            for event in decode_events(block):
                self._note(event)
                connection = self._update(event)
                if connection is not None:
                    self._react(event, connection)
                if self.listener is not None:
                    self.listener(event)

    def phase(self, name: str) -> None:
        """Carry out the steps that wait for a phase of the workload."""
        self.take()
        self._write({"phase": name})
        for step in self._steps:
            if step["when"] == name:
                self._wait(step, partial(self._for_all, step))

    def uses(self, path: str) -> bool:
        """Say whether a connection has a subflow on a path."""
        return any(list(self._on_path(one, path)) for one in self.connections.values())

    def close(self) -> None:
        """Stop listening."""
        self.take()
        self._events.close()
        self._kernel.close()
        self._log.close()

    # What happens

    def _update(self, event: Event) -> Connection | None:
        """Keep the table of connections up to date and return the one that an event is of."""
        if event.kind == "created" and event.local and event.remote:
            fresh = Connection(event.token, event.local, event.remote, [])
            self.connections[event.token] = fresh
        connection = self.connections.get(event.token)
        if connection is None:
            return None
        if event.kind == "closed":
            del self.connections[event.token]
        elif event.local and event.remote:
            subflow = (event.local, event.remote)
            if event.kind in ("established", "subflow_established"):
                connection.subflows.append(subflow)
            elif event.kind == "subflow_closed" and subflow in connection.subflows:
                connection.subflows.remove(subflow)
        return connection

    def _react(self, event: Event, connection: Connection) -> None:
        for step in self._steps:
            if step["when"] is not None and self._is_awaited(step, event):
                self._wait(step, partial(self._carry_out, step, connection))

    def _is_awaited(self, step: Step, event: Event) -> bool:
        when, path, address = step["when"], step["of"], step.get("of_address")
        if path is None and address is None:
            return bool(event.kind == when) and when in CONNECTION_EVENTS
        if event.kind not in SUBFLOW_EVENTS.get(when, ()) or not (event.local and event.remote):
            return False
        if address is not None:
            return bool(event.remote.address == address)
        return bool(self._paths.get(event.local.address) == path)

    def _wait(self, step: Step, call: Callable[[], None]) -> None:
        if step["after_s"]:
            self._timetable.at(time.monotonic_ns() + round(step["after_s"] * 1e9), call)
        else:
            call()

    # What is done

    def _for_all(self, step: Step) -> None:
        if not self.connections:
            self._write({**_named(step), "error": "the node has no MPTCP connection"})
        for connection in [*self.connections.values()]:
            self._carry_out(step, connection)

    def _carry_out(self, step: Step, connection: Connection) -> None:
        done = {**_named(step), "token": connection.token}
        try:
            if connection.token not in self.connections:
                raise BackendError("the connection has ended")
            ACTIONS[step["do"]](self, step, connection)
        except BackendError as error:
            done["error"] = str(error)
        self._write(done)

    def _add_subflow(self, step: Step, connection: Connection) -> None:
        """Open a subflow from the path's address to where the connection was opened to."""
        remote = End(
            step["to"] or connection.remote.address, step["port"] or connection.remote.port
        )
        self._kernel.create_subflow(
            connection.token,
            self._source(step["path"], connection),
            remote,
            is_backup=bool(step["is_backup"]),
        )

    def _close(self, step: Step, connection: Connection) -> None:
        """Close the connection's subflows on a path."""
        for local, remote in self._meant(connection, step):
            self._kernel.destroy_subflow(connection.token, local, remote)

    def _announce(self, step: Step, connection: Connection) -> None:
        """Announce the address that the node has on a path."""
        self._kernel.announce(connection.token, self._source(step["path"], connection))

    def _remove(self, step: Step, connection: Connection) -> None:
        """Tell the peer that the addresses of a path are gone."""
        path = step["path"]
        found = [n for a, n in connection.identifiers.items() if self._paths.get(a) == path]
        # The address of the first subflow has the id 0 (RFC 8684 section 3.2).
        is_first = self._paths.get(connection.local.address) == path
        for identifier in [*found, *([0] if is_first else [])]:
            self._kernel.remove(connection.token, identifier)
        if not found and not is_first:
            raise BackendError(f"the connection knows no address on the path {path}")

    def _set_backup(self, step: Step, connection: Connection) -> None:
        """Make the connection's subflows on a path backups, or no backups."""
        for local, remote in self._meant(connection, step):
            self._kernel.set_subflow_backup(connection.token, local, remote, step["is_backup"])

    def _source(self, path: str, connection: Connection) -> Source:
        address = self._client.address_of(path)
        index = self._client.node.indexes[self._interfaces[path]]
        return Source(address, connection.identifier(address), index)

    def _meant(self, connection: Connection, step: Step) -> list[Subflow]:
        """Return the subflows on a step's path, if it says so only those to an address."""
        path, to = step["path"], step["to"]
        known = self._on_path(connection, path)
        found = [subflow for subflow in known if to is None or subflow[1].address == to]
        if not found:
            where = f" to {to}" if to else ""
            raise BackendError(f"the connection has no subflow{where} on the path {path}")
        return found

    def _on_path(self, connection: Connection, path: str) -> Iterator[Subflow]:
        for subflow in connection.subflows:
            if self._paths.get(subflow[0].address) == path:
                yield subflow

    # What is written down

    def _note(self, event: Event) -> None:
        said: dict[str, Any] = {"event": event.kind, "token": event.token}
        if event.local and event.remote:
            said |= {"local": str(event.local), "remote": str(event.remote)}
            said["path"] = self._paths.get(event.local.address)
        if event.error:
            said["errno"] = event.error
        self._write(said)

    def _write(self, what: dict[str, Any]) -> None:
        t_s = (time.monotonic_ns() - self._start_ns) / 1e9 if self._start_ns else None
        self._log.write(json.dumps({"t_s": t_s, **what}) + "\n")
        self._log.flush()


def _named(step: Step) -> dict[str, Any]:
    return {"do": step["do"], "path": step["path"]}


ACTIONS: dict[str, Callable[[ScriptedPathManager, Step, Connection], None]] = {
    name: getattr(ScriptedPathManager, f"_{name}")
    for name in ("add_subflow", "close", "announce", "remove", "set_backup")
}
