# SPDX-License-Identifier: Apache-2.0
"""The command `testbed`: finds the subcommand and turns errors into one sentence each."""

import difflib
import errno
import importlib
import os
import sys

import click

from testbed import __version__
from testbed.cli import EXIT_INTERRUPTED
from testbed.cli.ending import ended_like_ctrl_c
from testbed.cli.printing import printable
from testbed.errors import TestbedError

# Modules are imported when their command is called: `testbed lab exec` must not wait for pandas.
COMMANDS = {
    "analyze": "testbed.cli.analyze:analyze",
    "compare-backends": "testbed.cli.compare_backends:compare_backends",
    "doctor": "testbed.cli.doctor:doctor",
    "fairness": "testbed.cli.fairness:fairness",
    "grin": "testbed.cli.grin:grin",
    "kernel": "testbed.cli.kernel:kernel",
    "lab": "testbed.cli.lab:lab",
    "middlebox": "testbed.cli.middlebox:middlebox",
    "migrate": "testbed.cli.migrate:migrate",
    "offload": "testbed.cli.offload:offload",
    "report": "testbed.cli.report:report",
    "resume": "testbed.cli.resume:resume",
    "run": "testbed.cli.run:run",
    "schema": "testbed.cli.schema:schema",
    "shell": "testbed.cli.shell:shell",
    "validate": "testbed.cli.validate:validate",
    "vm": "testbed.cli.vm:vm",
    "wifi": "testbed.cli.wifi:wifi",
}

EXIT_BROKEN_PIPE = 141

# What a disk may say at any moment, whoever writes.
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports one when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in alphabetical order."""
        return sorted(COMMANDS)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is called, and say which one was probably meant if there is none.

        Raises:
            UsageError: there is no such command.
        """
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], COMMANDS, 1)
            hint = f' (did you mean "{near[0]}"?)' if near else f"; there are {', '.join(COMMANDS)}"
            ctx.fail(f'there is no command "{args[0]}"{hint}')
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command of that name."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name].split(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
@click.option("--debug", is_flag=True, help="Show a traceback for every error.")
def testbed(debug: bool) -> None:
    """Reproduce the use cases of MPTCP with the real Linux stack, in virtual time."""


def main(argv: list[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    arguments = sys.argv[1:] if argv is None else argv
    try:
        with ended_like_ctrl_c():
            code = testbed.main(arguments, prog_name="testbed", standalone_mode=False)
    except click.exceptions.Exit as done:
        code = done.exit_code
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("testbed: interrupted", err=True)
        code = EXIT_INTERRUPTED
    except BrokenPipeError:
        # Who read our output has seen enough; Python must not try to flush it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = EXIT_BROKEN_PIPE
    except TestbedError as error:
        if "--debug" in arguments[:1]:
            raise
        click.echo(printable(f"testbed: {error}"), err=True)
        code = error.exit_code
    except OSError as error:
        if error.errno not in DISK_ERRORS or "--debug" in arguments[:1]:
            raise
        place, reason = error.filename or "the results", (error.strerror or "").lower()
        click.echo(printable(f"testbed: {place} cannot be written: {reason}"), err=True)
        code = 1
    sys.exit(code if isinstance(code, int) else 0)
