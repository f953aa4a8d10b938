# SPDX-License-Identifier: Apache-2.0
"""Two paths of a client that may meet in one link, and a host with TCP users beside each.

::

     rival1 --.
               left --- first ---.
            .-'                   \\
      client                       near --- shared --- far --- server
            '-.                   /
               right -- second --'
     rival2 --'

All links are cables here. The scenes in which congestion control is judged make bottlenecks of
`shared`, or of `first` and `second`, and say who sends: see testbed/plan/fairness.py.
"""

from testbed.topology import Topology


class Judging(Topology):
    """A client with the paths `first` and `second` to a server, and two rivals."""

    def build(self) -> None:
        """Add nodes, links and the client's paths."""
        client, rival1, rival2, server = (
            self.add_host(name) for name in ("client", "rival1", "rival2", "server")
        )
        left, right, near, far = (self.add_router(n) for n in ("left", "right", "near", "far"))
        first = self.add_link("client-left", client, left, a_interface="eth0")
        second = self.add_link("client-right", client, right, a_interface="eth1")
        self.add_link("rival1-left", rival1, left)
        self.add_link("rival2-right", rival2, right)
        self.add_link("first", left, near)
        self.add_link("second", right, near)
        self.add_link("shared", near, far)
        self.add_link("far-server", far, server)
        self.add_path("first", client, first, to=server)
        self.add_path("second", client, second, to=server)


topos = {"judging": Judging}
