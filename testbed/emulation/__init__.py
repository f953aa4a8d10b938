# SPDX-License-Identifier: Apache-2.0
"""The emulated network: namespaces, links, MPTCP set-up and timed changes, by raw netlink."""
