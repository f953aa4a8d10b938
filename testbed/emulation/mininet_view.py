# SPDX-License-Identifier: Apache-2.0
"""Mininet's shell on our network: python3 -m testbed.emulation.mininet_view SHELL.JSON

Mininet makes a namespace, a shell and some commands per node and per link, which takes it a
hundred times as long as us. So we make the network and show it to Mininet as if it were its own;
a node's shell is started when somebody uses it. The only file that imports Mininet's network.

SHELL.JSON is {"topology": plain data, "commands": list, None for those on standard input, or
"ask" for a terminal}.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mininet.cli import CLI
from mininet.link import Intf, Link
from mininet.log import lg, output, setLogLevel
from mininet.net import Mininet
from mininet.node import Node as MininetNode

from testbed.emulation.mptcp import MultipathClient, add_endpoints, set_limits
from testbed.emulation.network import Network, Node
from testbed.errors import TestbedError

ASK = "ask"
BIND_DEADLINE_S = 5.0
BIND_STEP_S = 0.02
UNKNOWN_COMMAND = 127  # as a shell calls it

# Prints the status of what a node's shell did last, and keeps it.
TELL_STATUS = """sh -c 'echo "status $1"; exit $1' - $?"""
LIMITS = {"subflows": 8, "add_addr_accepted": 8}

# As in experiments: else the kernel switches MPTCP off after a few lost SYN packets.
SYSCTLS = {"*": {"net.mptcp.blackhole_timeout": 0}}


class LiveNode(MininetNode):  # type: ignore[misc]  # Mininet is not typed
    """A node of ours, with all that Mininet's have.

    Args:
        live: the node.
    """

    # Mininet's own set-up asks for mnexec, which we do without.
    isSetup = True

    def __init__(self, live: Node) -> None:
        self._live = live
        self._is_wanted = False
        super().__init__(live.name, inNamespace=True)

    def startShell(self, mnopts: str | None = None) -> None:
        """Start the shell when it is wanted; Mininet asks for it when it makes a node."""
        if self._is_wanted:
            super().startShell(mnopts)

    def _want_shell(self) -> None:
        if self.shell is None:
            self._is_wanted = True
            self.startShell()

    def cmd(self, *args: Any, **options: Any) -> Any:
        """Carry a command out in the shell and return what it prints."""
        self._want_shell()
        return super().cmd(*args, **options)

    def sendCmd(self, *args: Any, **options: Any) -> None:
        """Send a command to the shell."""
        self._want_shell()
        # Only mnexec can tell a command's number.
        options.pop("printPid", None)
        super().sendCmd(*args, **options)

    def status(self) -> int:
        """Return the exit status of what was last carried out in the shell."""
        said = re.search(r"status (\d+)", self.cmd(TELL_STATUS))
        return int(said[1]) if said else 0

    def popen(self, *args: Any, **options: Any) -> Any:
        """Start a process on the node."""
        return super().popen(*args, **{**options, "mncmd": []})

    def _popen(self, cmd: list[str], **options: Any) -> Any:
        # The shell is started with "mnexec -cdn bash ..."
        argv = cmd[2:] if cmd[0] == "mnexec" else cmd
        options["close_fds"] = True
        return subprocess.Popen(
            argv, start_new_session=True, preexec_fn=self._live.namespace.enter, **options
        )


class LiveIntf(Intf):  # type: ignore[misc]
    """An interface that is configured already."""

    def __init__(self, name: str, node: LiveNode, link: Link, address: str, length: int) -> None:
        super().__init__(name, node, link=link, moveIntfFn=lambda *_: None)
        self.ip, self.prefixLen = address, length

    def config(self, **_: Any) -> dict[str, Any]:
        """Leave it as it is."""
        return {}


class LiveLink(Link):  # type: ignore[misc]
    """A link that exists already.

    Args:
        nodes: all of them by name.
        link: as in run.json.
    """

    def __init__(self, nodes: dict[str, LiveNode], link: dict[str, Any]) -> None:
        self.intf1, self.intf2 = (
            LiveIntf(
                link[f"{side}_interface"],
                nodes[link[side]],
                self,
                link[f"{side}_address"],
                link["prefix_length"],
            )
            for side in "ab"
        )


class LiveNet(Mininet):  # type: ignore[misc]
    """A network that is built already."""

    # Else Mininet changes this machine's limits.
    inited = True

    def iperf(
        self,
        hosts: list[LiveNode] | None = None,
        l4Type: str = "TCP",
        udpBw: str = "10M",
        fmt: str | None = None,
        seconds: int = 5,
        port: int = 5001,
    ) -> list[str]:
        """Measure between two hosts; Mininet's own waits for ever since iperf 2.1.

        It waits for a report on the connection by which it found out that the server listens.
        """
        client, server = hosts or [self.hosts[0], self.hosts[-1]]
        output(f"*** Iperf: testing {l4Type} bandwidth between {client} and {server}\n")
        argv = ["iperf", "-p", str(port), *(["-f", fmt] if fmt else [])]
        argv += ["-u"] if l4Type == "UDP" else []
        listening = server.popen([*argv, "-s"], text=True)
        _wait_until_bound(server, l4Type, port)
        rate = ["-b", udpBw] if l4Type == "UDP" else []
        said = client.cmd(*argv, "-t", seconds, "-c", server.IP(), *rate)
        listening.terminate()
        heard, _ = listening.communicate()
        result = [self._parseIperf(text) for text in (heard, said)]
        result = [udpBw, *result] if l4Type == "UDP" else result
        output(f"*** Results: {result}\n")
        return result


def _wait_until_bound(node: LiveNode, protocol: str, port: int) -> None:
    deadline = time.monotonic() + BIND_DEADLINE_S
    while time.monotonic() < deadline:
        kind = "-u" if protocol == "UDP" else "-t"
        if node.pexec("ss", "-Hanl", kind, f"sport = :{port}")[0]:
            return
        time.sleep(BIND_STEP_S)


def show(network: Network) -> LiveNet:
    """Return a live network as Mininet sees it."""
    net = LiveNet(build=False, controller=None)
    nodes = {name: LiveNode(node) for name, node in network.nodes.items()}
    net.hosts = list(nodes.values())
    net.nameToNode = nodes
    net.links = [LiveLink(nodes, link) for link in network.links.values()]
    net.built = True
    return net


class Shell(CLI):  # type: ignore[misc]
    """Mininet's shell, asking on a terminal or carrying out commands.

    Args:
        net: the network.
        commands: None asks.

    Attributes:
        status: of the first command that failed, on a node or by `sh`; asking notes none.
    """

    def __init__(self, net: LiveNet, commands: Iterable[str] | None) -> None:
        self._commands = commands
        self.status = 0
        if commands is None:
            super().__init__(net)
            return
        # Mininet passes what it can read on to the nodes: here, nothing ever comes.
        quiet, self._kept_open = os.pipe()
        self.readlineInited = True
        with os.fdopen(quiet) as stdin:
            super().__init__(net, stdin=stdin)

    readlineInited = False

    def run(self) -> None:
        """Ask until the end, or carry the commands out."""
        if self._commands is None:
            super().run()
            return
        for line in self._commands:
            is_end = self.onecmd(self.precmd(line.strip()))
            sys.stdout.flush()
            if is_end:
                break

    def default(self, line: str) -> None:
        """Carry out a command on a node."""
        super().default(line)
        if self._commands is not None:
            name, command, _ = self.parseline(line)
            is_carried_out = name in self.mn and command
            self._note(self.mn[name].status() if is_carried_out else UNKNOWN_COMMAND)

    def do_sh(self, line: str) -> None:
        """Carry out a command of this machine: sh COMMAND."""
        self._note(subprocess.run(line, shell=True).returncode)  # noqa: S602

    def _note(self, status: int) -> None:
        self.status = self.status or status


def build(topology: dict[str, Any]) -> Network:
    """Return the live network, with an MPTCP endpoint for every path."""
    network = Network(topology, SYSCTLS)
    network.build()
    set_limits(network.nodes, LIMITS)
    add_endpoints(network, topology.get("endpoints", {}))
    for name in dict.fromkeys(path["node"] for path in topology["paths"]):
        paths = [path for path in topology["paths"] if path["node"] == name]
        flags: dict[str, tuple[str, ...]] = {path["name"]: ("subflow",) for path in paths}
        MultipathClient(network, paths, flags).set_up()
    network.start_traces(time.monotonic_ns())
    return network


def main() -> None:
    """Build the network and open the shell."""
    told = json.loads(Path(sys.argv[1]).read_text())
    commands = None if told["commands"] == ASK else told["commands"] or sys.stdin
    try:
        net = show(build(told["topology"]))
    except TestbedError as error:
        print(f"testbed: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    for handler in lg.handlers:  # else the answers go to standard error
        handler.setStream(sys.stdout)
    setLogLevel("info" if commands is None else "output")
    sys.exit(Shell(net, commands).status)


if __name__ == "__main__":
    main()
