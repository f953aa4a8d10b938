# SPDX-License-Identifier: Apache-2.0
"""Turn run directories into tables, a verdict and figures; nothing here starts anything."""
