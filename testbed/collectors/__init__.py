# SPDX-License-Identifier: Apache-2.0
"""What is recorded during a run: one source per file. Collectors write raw bytes and parse none."""
