# SPDX-License-Identifier: Apache-2.0
"""`testbed kernel`: builds the lab kernel, or one for virtual machines, and shows what there is."""

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
    remove_kernel,
    size_bytes,
    unused_kernels,
)
from testbed.lab.kinds import KINDS, LAB, Kind
from testbed.lab.source import local_source, packaged_source

for_option = click.option(
    "--for",
    "kind_name",
    type=click.Choice(list(KINDS)),
    default=LAB.name,
    show_default=True,
    help="lab: where experiments run; vm: of a virtual machine, for 'vm build-box --kernel ours'.",
)


@click.group()
def kernel() -> None:
    """Build our own kernel, the Linux that experiments run in."""


@kernel.command()
@for_option
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
def build(kind_name: str, source: Path | None, suite: str | None, jobs: int, force: bool) -> None:
    """Fetch, extend, configure and compile the kernel.

    It needs no root. A kernel that was built for this state of kernel/ is used again.
    """
    if source and suite:
        raise click.UsageError("--source and --suite exclude each other")
    kind = KINDS[kind_name]
    given = local_source(source) if source else None
    if not force and (built := _find_or_none(kind)):
        click.echo(f"Linux {built.id} is already built: {built.path}")
        return
    check_buildable(kind)
    with show_progress() as report, build_lock(report):
        built = None if force else _find_or_none(kind)
        if built is None:
            chosen = given or packaged_source(suite, refresh=force, report=report)
            built = build_kernel(chosen, jobs, report, kind)
    click.echo(f"Linux {built.id} is ready: {built.path}")


@kernel.command("list")
@for_option
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
def list_(kind_name: str, as_json: bool) -> None:
    """List the kernels in the cache, oldest first."""
    kind = KINDS[kind_name]
    kernels = list_kernels(kind)
    current = _find_or_none(kind)
    if as_json:
        records = [_as_record(one, is_current=one == current) for one in kernels]
        click.echo(json.dumps(records, indent=2))
        return
    for one in kernels:
        mark = "*" if one == current else " "
        click.echo(f"{mark} {one.id}  {one.built}  {_megabytes(one)}  {one.source}")
    if not kernels:
        click.echo(f"no {kind.title} has been built; run '{kind.build_command}'")
    elif others := [one for one in kernels if one != current]:
        count = f"{len(others)} of them {'is' if len(others) == 1 else 'are'}"
        prune_command = kind.build_command.replace("build", "prune")
        click.echo(f"{count} not used by this checkout; '{prune_command}' removes them")


@kernel.command()
@for_option
@click.option("--dry-run", is_flag=True, help="Print what would be removed.")
def prune(kind_name: str, dry_run: bool) -> None:
    """Remove the kernels that neither this checkout nor a running command uses.

    Another checkout that used one of them has to build it again.
    """
    for one in unused_kernels(KINDS[kind_name]):
        said = f"Linux {one.id} ({_megabytes(one)})"
        if dry_run:
            click.echo(f"would remove {said}")
        elif remove_kernel(one):
            click.echo(f"removed {said}")
        else:
            click.echo(f"kept {said}: a running command uses it")


@kernel.command()
@for_option
def path(kind_name: str) -> None:
    """Print the kernel that experiments use: the lab's executable, or a machine's package."""
    click.echo(find_kernel(KINDS[kind_name]).path)


def _find_or_none(kind: Kind) -> Kernel | None:
    try:
        return find_kernel(kind)
    except PrerequisiteError:
        return None


def _as_record(one: Kernel, *, is_current: bool) -> dict[str, object]:
    record = {key: str(value) for key, value in asdict(one).items()}
    return {**record, "is_current": is_current, "size_bytes": size_bytes(one)}


def _megabytes(one: Kernel) -> str:
    return f"{size_bytes(one) / 1e6:.0f} MB"
