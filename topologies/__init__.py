# SPDX-License-Identifier: Apache-2.0
"""The networks of the experiments, one class per file; each docstring has the drawing."""

from testbed.topology import Topology
from topologies.dual_homed_fat_tree import DualHomedFatTree
from topologies.fat_tree import FatTree
from topologies.interference import Interference
from topologies.judging import Judging
from topologies.leaf_spine import LeafSpine
from topologies.middlebox import Middlebox
from topologies.underground import Underground
from topologies.vl2 import Vl2
from topologies.wide_area import WideArea
from topologies.wifi_street import WifiStreet

TOPOLOGIES: dict[str, type[Topology]] = {
    "dual_homed_fat_tree": DualHomedFatTree,
    "fat_tree": FatTree,
    "interference": Interference,
    "judging": Judging,
    "leaf_spine": LeafSpine,
    "middlebox": Middlebox,
    "underground": Underground,
    "vl2": Vl2,
    "wide_area": WideArea,
    "wifi_street": WifiStreet,
}
