# SPDX-License-Identifier: Apache-2.0
"""What all tests share."""

import os
import signal

import pytest

EXPECT_ALL = os.environ.get("TESTBED_EXPECT_ALL") == "1"


def pytest_configure():
    """Let Ctrl-C be heard here and in what tests start, also when a shell began us with `&`."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Turn every skip into a failure where nothing may be missing."""
    outcome = yield
    report = outcome.get_result()
    if EXPECT_ALL and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped although TESTBED_EXPECT_ALL=1: {report.longrepr}"
