# SPDX-License-Identifier: Apache-2.0
"""The errors a user can meet, apart from the code that raises them.

TestbedError
├── SpecError           the user's file or option is wrong
├── PlanError           the experiment is well formed but means nothing
├── PrerequisiteError   this machine lacks something
├── BackendError        the target cannot be reached, prepared or kept alive
├── CommandError        an external command failed
└── RunInvalid          the run ended, but an expectation was not met

A message is one sentence in lower case: what happened, to what, what to do.
"""


class TestbedError(Exception):
    """Base of every error that is shown as one sentence, without a traceback.

    Attributes:
        exit_code: what `testbed` exits with when this error ends it.
    """

    __test__ = False  # not a test case, whatever its name begins with
    exit_code = 1


class SpecError(TestbedError):
    """An experiment file, a trace or an option is wrong."""

    exit_code = 2


class PlanError(TestbedError):
    """The experiment is well formed but cannot be carried out as written."""

    exit_code = 2


class PrerequisiteError(TestbedError):
    """This machine lacks something; the message says how to get it."""

    exit_code = 3


class BackendError(TestbedError):
    """The target cannot be reached or prepared, or it died."""


class CommandError(TestbedError):
    """An external command failed, or took longer than it may."""


class RunInvalid(TestbedError):
    """The run ended, but what it measured does not answer its question."""
