# SPDX-License-Identifier: Apache-2.0
"""A machine behind SSH: who it is, a connection that may be lost, and what is done over it."""
