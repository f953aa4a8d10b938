# SPDX-License-Identifier: Apache-2.0
"""Messages of the kernel's netlink families, built with struct: no dependency, one process.

A spawned command per step is what makes emulators slow to start, and general netlink libraries
cost ten times as much per message as this.
"""
