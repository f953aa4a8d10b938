# SPDX-License-Identifier: Apache-2.0
"""`testbed kernel`: builds the lab kernel and shows which ones there are."""

import json
import os
from dataclasses import asdict
from pathlib import Path

import click

from testbed.cli.progress import show_progress
from testbed.errors import PrerequisiteError
from testbed.lab.kernel import (
    Kernel,
    build_kernel,
    build_lock,
    check_buildable,
    find_kernel,
    list_kernels,
)
from testbed.lab.source import local_source, packaged_source


@click.group()
def kernel() -> None:
    """Build the lab kernel, the Linux that experiments run in."""


@kernel.command()
@click.option(
    "--source",
    type=click.Path(path_type=Path),
    metavar="DIR|TARBALL",
    help="A Linux source, 6.16 or later. Default: the distribution's package.",
)
@click.option("--suite", metavar="NAME", help="The suite whose package to take.")
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=lambda: len(os.sched_getaffinity(0)),
    show_default="one per core",
    help="How many compilers to run at once.",
)
@click.option("--force", is_flag=True, help="Look for a newer source and build again.")
def build(source: Path | None, suite: str | None, jobs: int, force: bool) -> None:
    """Fetch, extend, configure and compile the lab kernel.

    It needs no root. A kernel that was built for this state of kernel/ is used again.
    """
    if source and suite:
        raise click.UsageError("--source and --suite exclude each other")
    given = local_source(source) if source else None
    if not force and (built := _find_or_none()):
        click.echo(f"Linux {built.id} is already built: {built.path}")
        return
    check_buildable()
    with show_progress() as report, build_lock(report):
        built = None if force else _find_or_none()
        if built is None:
            chosen = given or packaged_source(suite, refresh=force, report=report)
            built = build_kernel(chosen, jobs, report)
    click.echo(f"Linux {built.id} is ready: {built.path}")


@kernel.command("list")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
def list_(as_json: bool) -> None:
    """List the lab kernels in the cache, oldest first."""
    kernels = list_kernels()
    current = _find_or_none()
    if as_json:
        records = [_as_record(one, is_current=one == current) for one in kernels]
        click.echo(json.dumps(records, indent=2))
        return
    for one in kernels:
        mark = "*" if one == current else " "
        click.echo(f"{mark} {one.id}  {one.built}  {one.source}")
    if not kernels:
        click.echo("no lab kernel has been built; run 'testbed kernel build'")


@kernel.command()
def path() -> None:
    """Print the executable of the kernel that experiments use."""
    click.echo(find_kernel().path)


def _find_or_none() -> Kernel | None:
    try:
        return find_kernel()
    except PrerequisiteError:
        return None


def _as_record(one: Kernel, *, is_current: bool) -> dict[str, object]:
    record = {key: str(value) for key, value in asdict(one).items()}
    return {**record, "is_current": is_current}
