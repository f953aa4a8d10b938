# SPDX-License-Identifier: Apache-2.0
"""What a machine that is no lab needs around a run: checks, namespaces, and a life of its own.

Runs on the target with the standard library only.
"""
