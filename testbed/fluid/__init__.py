# SPDX-License-Identifier: Apache-2.0
"""A flow-level model of datacenter networks, for sizes that no emulation reaches."""
