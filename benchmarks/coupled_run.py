# SPDX-License-Identifier: Apache-2.0
"""One run about coupled congestion control, inside a lab; prints the rate of every subflow.

python3 -m benchmarks.coupled_run SCENARIO CONGESTION_CONTROL SEED [TRACE]
"""

import json
import os
import random
import selectors
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.coupled_networks import IPPROTO_MPTCP, Flows, Scenario, find_scenario
from testbed.emulation.mptcp import MultipathClient, set_limits, sysctls
from testbed.emulation.network import Network, Node
from testbed.netlink.message import NetlinkSocket, split_attrs, split_messages
from testbed.netlink.sock_diag import NETLINK_SOCK_DIAG, dump_sockets

PORT = 5001
BLOCK = bytes(1 << 18)
READ_BYTES = 1 << 20
# A receiver that wakes up for every packet only costs time.
WAKE_BYTES = 100_000
START_SPREAD_S = 1.0
TRACE_STEP_S = 0.005

# So large that neither end's memory is the limit while one subflow waits for the other.
READ_BUFFERS = f"4096 {16 << 20} {16 << 20}"
WRITE_BUFFERS = f"4096 65536 {4 << 20}"

# struct inet_diag_msg, its attributes, and struct tcp_info
PORTS_AND_SOURCE = struct.Struct("=4x2s2s4s")
MESSAGE_BYTES = 72
INFO_ATTR, CONGESTION_ATTR = 2, 4
INFO_WORDS = struct.Struct("=BB6x24I")
BYTES_ACKED = struct.Struct("=120xQ")


@dataclass(frozen=True)
class Subflow:
    """What one sample says of a TCP socket."""

    host: str
    source: str
    port: int
    bytes_acked: int
    cwnd: int
    ssthresh: int
    rtt_ms: float
    congestion_control: str
    state: int
    unacked: int
    retransmitted: int


def serve(node: Node, ready: int) -> None:
    """Accept connections and throw away what they bring, for ever."""
    node.namespace.enter()
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP)
    listener.bind(("", PORT))
    listener.listen(128)
    os.write(ready, b"x")
    buffer = bytearray(READ_BYTES)
    with selectors.EpollSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is listener:
                    connection, _ = listener.accept()
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, WAKE_BYTES)
                    selector.register(connection, selectors.EVENT_READ)
                elif isinstance(key.fileobj, socket.socket):
                    key.fileobj.recv_into(buffer)


def fill(node: Node, flows: Flows, server: str, delay_s: float) -> None:
    """Open one connection after a while and send without end."""
    node.namespace.enter()
    time.sleep(delay_s)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, flows.protocol) as connection:
        if flows.congestion_control:
            name = flows.congestion_control.encode()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, name)
        connection.connect((server, PORT))
        while True:
            connection.send(BLOCK)


def in_child(function: Callable[..., None], *arguments: Any) -> None:
    """Run a function in a process of its own, which ends with the lab."""
    if os.fork():
        return
    try:
        function(*arguments)
    finally:
        os._exit(1)


def subflows(host: str, diag: NetlinkSocket) -> Iterator[Subflow]:
    """Yield the TCP sockets of a namespace that send to the server."""
    for _, _, body in split_messages(diag.dump(dump_sockets(socket.IPPROTO_TCP))):
        if len(body) < MESSAGE_BYTES:
            continue
        sport, dport, source = PORTS_AND_SOURCE.unpack_from(body)
        attrs = split_attrs(body[MESSAGE_BYTES:])
        info = attrs.get(INFO_ATTR, b"")
        if int.from_bytes(dport) != PORT or len(info) < BYTES_ACKED.size:
            continue
        _, state, *words = INFO_WORDS.unpack_from(info)
        yield Subflow(
            host=host,
            source=socket.inet_ntoa(source),
            port=int.from_bytes(sport),
            bytes_acked=BYTES_ACKED.unpack_from(info)[0],
            cwnd=words[18],
            ssthresh=words[17],
            rtt_ms=words[15] / 1000,
            congestion_control=attrs.get(CONGESTION_ATTR, b"").rstrip(b"\0").decode(),
            state=state,
            unacked=words[4],
            retransmitted=words[23],
        )


class Run:
    """One run.

    Args:
        scenario: what is built and who sends.
        congestion_control: of all connections that do not say otherwise.
        seed: of the losses and of the times at which the connections start.
        trace: a file for what every subflow does every 5 ms.
    """

    def __init__(
        self, scenario: Scenario, congestion_control: str, seed: int, trace: Path | None
    ) -> None:
        self._scenario = scenario
        self._congestion_control = congestion_control
        self._random = random.Random(seed)
        self._trace = trace
        self._diags: dict[str, NetlinkSocket] = {}

    def carry_out(self) -> list[dict[str, Any]]:
        """Return every subflow with its rate after the warm-up."""
        self._build()
        self._start()
        self._watch(self._scenario.warm_up_s)
        before = {(one.host, one.source, one.port): one for one in self._sample()}
        self._watch(self._scenario.measured_s)
        found = []
        for one in self._sample():
            base = before.get((one.host, one.source, one.port))
            acked = one.bytes_acked - (base.bytes_acked if base else 0)
            found.append({**asdict(one), "mbps": acked * 8e-6 / self._scenario.measured_s})
        return found

    def _build(self) -> None:
        wanted = sysctls(
            {
                "congestion_control": self._congestion_control,
                "path_manager": "kernel",
                "scheduler": "default",
                "stale_loss_count": 4,
            }
        )
        wanted |= {"net.ipv4.tcp_rmem": READ_BUFFERS, "net.ipv4.tcp_wmem": WRITE_BUFFERS}
        # MPTCP lets a subflow wait while data that it gave to a slower one is on its way; after
        # such a pause TCP would start slowly, which is the scheduler's doing and not the law's.
        wanted["net.ipv4.tcp_slow_start_after_idle"] = 0
        plain = self._scenario.topology().plain()
        for link in plain["links"]:
            link["a_to_b"]["loss_seed"] = self._random.getrandbits(64)
        for path in plain["paths"]:
            path["addresses"] = [path["address"]]
        self._network = Network(plain, {"*": wanted})
        self._network.build()
        set_limits(self._network.nodes, {"subflows": 8, "add_addr_accepted": 8})
        flags: dict[str, tuple[str, ...]] = {path["name"]: ("subflow",) for path in plain["paths"]}
        MultipathClient(self._network, plain["paths"], flags).set_up()
        (self._server,) = (link["b_address"] for link in plain["links"] if link["b"] == "server")

    def _start(self) -> None:
        nodes = self._network.nodes
        ready_in, ready_out = os.pipe()
        in_child(serve, nodes["server"], ready_out)
        os.read(ready_in, 1)
        for flows in self._scenario.flows:
            for _ in range(flows.count):
                delay_s = self._random.uniform(0, START_SPREAD_S)
                in_child(fill, nodes[flows.host], flows, self._server, delay_s)
            with nodes[flows.host].namespace.inside():
                self._diags[flows.host] = NetlinkSocket(NETLINK_SOCK_DIAG)

    def _sample(self) -> list[Subflow]:
        return [one for host, diag in self._diags.items() for one in subflows(host, diag)]

    def _watch(self, duration_s: float) -> None:
        end_s = time.monotonic() + duration_s
        while self._trace and time.monotonic() < end_s:
            with self._trace.open("a") as file:
                for one in self._sample():
                    file.write(json.dumps({"t_s": time.monotonic(), **asdict(one)}) + "\n")
            time.sleep(TRACE_STEP_S)
        time.sleep(max(0.0, end_s - time.monotonic()))


def main() -> None:
    """Run what the arguments name."""
    name, congestion_control, seed, *trace = sys.argv[1:]
    run = Run(find_scenario(name), congestion_control, int(seed), Path(*trace) if trace else None)
    print(json.dumps(run.carry_out()), flush=True)


if __name__ == "__main__":
    main()
