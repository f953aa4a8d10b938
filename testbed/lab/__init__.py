# SPDX-License-Identifier: Apache-2.0
"""The lab kernel: fetched, built and kept in a cache, then booted as an ordinary process."""
