# SPDX-License-Identifier: Apache-2.0
"""The command line: one module per command, and the only place that prints or exits."""
