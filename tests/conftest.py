# SPDX-License-Identifier: Apache-2.0
"""What all tests share."""

import os

import pytest

EXPECT_ALL = os.environ.get("TESTBED_EXPECT_ALL") == "1"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Turn every skip into a failure where nothing may be missing."""
    outcome = yield
    report = outcome.get_result()
    if EXPECT_ALL and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped although TESTBED_EXPECT_ALL=1: {report.longrepr}"
