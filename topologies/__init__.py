# SPDX-License-Identifier: Apache-2.0
"""The networks of the experiments, one class per file; each docstring has the drawing."""

from testbed.topology import Topology
from topologies.middlebox import Middlebox
from topologies.underground import Underground
from topologies.wide_area import WideArea

TOPOLOGIES: dict[str, type[Topology]] = {
    "middlebox": Middlebox,
    "underground": Underground,
    "wide_area": WideArea,
}
