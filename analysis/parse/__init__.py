# SPDX-License-Identifier: Apache-2.0
"""Parsers of what the collectors wrote, pure: bytes or text in, records out."""
