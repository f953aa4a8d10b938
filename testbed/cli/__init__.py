# SPDX-License-Identifier: Apache-2.0
"""The command line: one module per command, and the only place that prints or exits."""

import sys

EXIT_INTERRUPTED = 130


def start() -> None:
    """Run the command `testbed`; an interruption is answered from the first import on."""
    try:
        from testbed.cli.main import main

        main()
    except KeyboardInterrupt:
        sys.stderr.write("testbed: interrupted\n")
        sys.exit(EXIT_INTERRUPTED)
