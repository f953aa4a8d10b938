# SPDX-License-Identifier: Apache-2.0
"""A virtual machine with an ordinary MPTCP kernel: its box, and how it is started and ended."""
