# SPDX-License-Identifier: Apache-2.0
"""The radio model: from where a station is to what its links carry; pure, and a seed gives all."""
