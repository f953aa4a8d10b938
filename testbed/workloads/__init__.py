# SPDX-License-Identifier: Apache-2.0
"""What runs over the emulated network: one tool per file."""

from testbed.workloads.download import DownloadWorkload

WORKLOADS = {"download": DownloadWorkload}
