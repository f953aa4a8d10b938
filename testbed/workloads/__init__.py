# SPDX-License-Identifier: Apache-2.0
"""What runs over the emulated network: one tool per file."""

import importlib

from testbed.workloads.base import Workload

# Imported when it is used: a run needs one of them, and starts the sooner.
WORKLOADS = {
    "bulk": "testbed.workloads.bulk:BulkWorkload",
    "download": "testbed.workloads.download:DownloadWorkload",
    "interference": "testbed.workloads.interference:InterferenceWorkload",
    "iperf3": "testbed.workloads.iperf3:Iperf3Workload",
    "middlebox": "testbed.workloads.middlebox:MiddleboxWorkload",
    "migrate": "testbed.workloads.migrate:MigrateWorkload",
    "udp": "testbed.workloads.udp:UdpWorkload",
}


def workload_class(name: str) -> type[Workload]:
    """Return the workload of a name in WORKLOADS."""
    module, _, attribute = WORKLOADS[name].partition(":")
    found: type[Workload] = getattr(importlib.import_module(module), attribute)
    return found
