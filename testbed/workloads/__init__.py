# SPDX-License-Identifier: Apache-2.0
"""What runs over the emulated network: one tool per file."""

from testbed.workloads.base import Workload
from testbed.workloads.bulk import BulkWorkload
from testbed.workloads.download import DownloadWorkload
from testbed.workloads.iperf3 import Iperf3Workload

WORKLOADS: dict[str, type[Workload]] = {
    "bulk": BulkWorkload,
    "download": DownloadWorkload,
    "iperf3": Iperf3Workload,
}
