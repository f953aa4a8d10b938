# SPDX-License-Identifier: Apache-2.0
"""The two small C programs beside the lab kernel: the warden and the guest's first process.

They are compiled when they are first needed and kept in the cache under the hash of their
source, so that a change of theirs costs no build of the kernel.
"""

import hashlib
import shutil
import tempfile
from pathlib import Path

from testbed.errors import CommandError, PrerequisiteError
from testbed.lab.cache import cache_dir
from testbed.lab.leases import hold, remove_old
from testbed.process import run

CFLAGS = ("-O2", "-static")


def warden() -> Path:
    """Return the path of the compiled warden."""
    return _compiled("warden")


def guest_init() -> Path:
    """Return the path of the compiled first process of the guest."""
    return _compiled("guest_init")


def _compiled(name: str) -> Path:
    source = Path(__file__).with_name(f"{name}.c")
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:12]
    program = cache_dir() / "programs" / f"{name}-{digest}"
    while not hold(program):
        _compile(source, program)
        if hold(program):
            others = program.parent.iterdir()
            remove_old(path for path in others if path.name.startswith((f"{name}-", ".")))
    return program


def _compile(source: Path, program: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise PrerequisiteError(
            f"{source.name} cannot be compiled: there is no C compiler; "
            "install one with 'apt-get install build-essential'"
        )
    program.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=program.parent, prefix=".compile-") as folder:
        fresh = Path(folder) / program.name
        try:
            run([compiler, *CFLAGS, "-o", str(fresh), str(source)], timeout_s=60)
        except CommandError as error:
            raise PrerequisiteError(f"{source.name} cannot be compiled: {error}") from error
        fresh.replace(program)
