# SPDX-License-Identifier: Apache-2.0
"""Measurements of speed and repeatability; `make bench` prints them. They are not tests."""
