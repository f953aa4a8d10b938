# SPDX-License-Identifier: Apache-2.0
"""Networks in which a coupled congestion control is judged, and who sends in them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypedDict

from testbed.topology import Direction, Topology

IPPROTO_MPTCP = 262

# Of the links that lose packets but limit nobody.
FAST_BPS = 200_000_000
DEEP_BYTES = 5_000_000


class Ways(TypedDict):
    """The two directions of a link; the first is that of the data."""

    a_to_b: Direction
    b_to_a: Direction


@dataclass(frozen=True)
class Flows:
    """Connections that one host opens to the server and fills.

    Attributes:
        host: where they start.
        protocol: 0 for TCP, IPPROTO_MPTCP.
        congestion_control: "": the one that the run is about.
        count: how many.
    """

    host: str
    protocol: int
    congestion_control: str = ""
    count: int = 1


@dataclass(frozen=True)
class Scenario:
    """A network, who sends in it, and for how long."""

    topology: Callable[[], Topology]
    flows: tuple[Flows, ...]
    warm_up_s: float = 15.0
    measured_s: float = 60.0


def bottleneck(rate_bps: int, rtt_s: float, bdp: float = 1.0) -> Ways:
    """Return both directions of a link whose queue holds `bdp` bandwidth-delay products."""
    return {
        "a_to_b": Direction(rate_bps, rtt_s / 2, round(rate_bps * rtt_s / 8 * bdp)),
        "b_to_a": Direction(one_way_delay_s=rtt_s / 2),
    }


def lossy(rtt_s: float, loss: float) -> Ways:
    """Return a link that loses packets on their way to the server and limits nobody."""
    return {
        "a_to_b": Direction(FAST_BPS, rtt_s / 2, DEEP_BYTES, loss_fraction=loss),
        "b_to_a": Direction(one_way_delay_s=rtt_s / 2),
    }


class Shared(Topology):
    """Both paths of `multi`, and `single`, meet in one link.

    ::

        multi ==== near ---- shared ---- far ---- server
        single ---/
    """

    def build(self, shared: Ways) -> None:
        """Add nodes, links and paths; `shared` has the two directions of the link."""
        multi, single, server = (self.add_host(name) for name in ("multi", "single", "server"))
        near, far = self.add_router("near"), self.add_router("far")
        first = self.add_link("first", multi, near, a_interface="eth0", b_interface="in0")
        second = self.add_link("second", multi, near, a_interface="eth1", b_interface="in1")
        self.add_link("single-near", single, near)
        self.add_link("shared", near, far, **shared)
        self.add_link("far-server", far, server)
        self.add_path("first", multi, first, to=server)
        self.add_path("second", multi, second, to=server)


class Disjoint(Topology):
    """Two paths that meet nowhere; `single` shares the second.

    ::

              .-- left ---- first link ---- core ---- server
        multi                                /
              '-- right --- second link ----'
        single ---/
    """

    def build(self, first: Ways, second: Ways) -> None:
        """Add nodes, links and paths; the arguments have the directions of the two links."""
        multi, single, server = (self.add_host(name) for name in ("multi", "single", "server"))
        left, right = self.add_router("left"), self.add_router("right")
        core = self.add_router("core")
        one = self.add_link("first", multi, left, a_interface="eth0")
        two = self.add_link("second", multi, right, a_interface="eth1")
        self.add_link("single-right", single, right)
        self.add_link("left-core", left, core, **first)
        self.add_link("right-core", right, core, **second)
        self.add_link("core-server", core, server)
        self.add_path("first", multi, one, to=server)
        self.add_path("second", multi, two, to=server)


MULTI = Flows("multi", IPPROTO_MPTCP)
RENO = Flows("single", 0, "reno")
# Who gets in each other's way in the paper on OLIA; here five of each.
CROWD = (Flows("multi", IPPROTO_MPTCP, count=5), Flows("single", 0, "reno", count=5))


def shared(rtt_ms: float, bdp: float) -> Scenario:
    """Return one bottleneck of 20 Mbit/s for an MPTCP and a TCP connection."""
    link = bottleneck(20_000_000, rtt_ms / 1000, bdp)
    return Scenario(lambda: Shared(link), (MULTI, RENO))


def even(loss: float) -> Scenario:
    """Return the same with random loss instead of a queue: all packets are equal."""
    return Scenario(lambda: Shared(lossy(0.040, loss)), (MULTI, RENO), measured_s=240.0)


def private(private_bps: int) -> Scenario:
    """Return a private path beside one of 5 Mbit/s with TCP users; RTT 80 ms, 1 BDP of queue."""
    links = bottleneck(private_bps, 0.080), bottleneck(5_000_000, 0.080)
    return Scenario(lambda: Disjoint(*links), CROWD, warm_up_s=30.0, measured_s=90.0)


def lossy_paths() -> Scenario:
    """Return the loss-RTT case: 4 % at 10 ms and 1 % at 100 ms."""
    links = lossy(0.010, 0.04), lossy(0.100, 0.01)
    return Scenario(lambda: Disjoint(*links), (MULTI,), measured_s=120.0)


def lossy_alone(rtt_s: float, loss: float) -> Scenario:
    """Return one of these paths for one TCP connection."""
    links = lossy(0.010, 0.0), lossy(rtt_s, loss)
    return Scenario(lambda: Disjoint(*links), (Flows("single", 0),), measured_s=120.0)


def find_scenario(name: str) -> Scenario:
    """Return a scenario by its name, such as shared-40-1 (RTT in ms, queue in BDP)."""
    kind, *numbers = name.split("-")
    values = [float(number) for number in numbers]
    kinds: dict[str, Callable[[], Scenario]] = {
        "shared": lambda: shared(*values),
        "even": lambda: even(*values),
        "private": lambda: private(round(values[0] * 1e6)),
        "lossy": lossy_paths,
        "alone": lambda: lossy_alone(values[0] / 1000, values[1]),
    }
    return kinds[kind]()
