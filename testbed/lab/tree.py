# SPDX-License-Identifier: Apache-2.0
"""A kernel source tree on its way to a kernel: unpacked, extended, configured, compiled.

The functions are the steps in their order. Each works in a folder that its caller made and
removes, and raises one sentence when it fails.
"""

import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from testbed.errors import BackendError, SpecError
from testbed.lab import build_log
from testbed.lab.additions import Additions, local_version
from testbed.lab.cache import disk_full, is_full
from testbed.lab.kernel_config import join_fragments, missing_symbols
from testbed.lab.kinds import LAB, Kind
from testbed.lab.package import EPOCH, PACKAGE_ROOT, lay_out, package_argv
from testbed.lab.source import OLDEST_VERSION, Source
from testbed.lab.watch import Outcome, watch

# All that a build may depend on: the user's locale, flags and an outer make's job server would
# change the result or break it.
_PASSED_ON = ("PATH", "HOME", "CCACHE_DIR")
_FIXED_ENVIRONMENT = {
    "LC_ALL": "C",
    "TZ": "UTC",
    "KBUILD_BUILD_TIMESTAMP": "Thu Jan  1 00:00:00 UTC 1970",
    "KBUILD_BUILD_USER": "testbed",
    "KBUILD_BUILD_HOST": "lab",
    "KBUILD_BUILD_VERSION": "1",
}

# Tools that a kernel of C without debug information does not use, but whose versions it would
# record in its configuration, so that equal kernels differed.
_HIDDEN_TOOLS = ("RUSTC=none", "BINDGEN=none", "PAHOLE=none")

# Of a source folder: its history, and what an earlier build left there.
_NOT_COPIED = shutil.ignore_patterns(".git", "*.o", "*.a", "*.cmd", ".config")

# A third of all files by size, of which Kconfig reads none and User-Mode Linux compiles none.
_NOT_UNPACKED = "*/drivers/gpu/*.[ch]"


class Tree:
    """One build of a kernel.

    Args:
        folder: where everything is made.
        kind: what it becomes.
        environment: what the build sees of the user's environment.
    """

    def __init__(
        self, folder: Path, kind: Kind = LAB, environment: Mapping[str, str] = os.environ
    ) -> None:
        self.kind = kind
        self.source = folder / "source"
        self.log_path = folder / "build.log"  # of the last command
        self._folder = folder
        self._local_version = ""
        kept = {name: environment[name] for name in _PASSED_ON if name in environment}
        # A compiler that is killed leaves its temporary files; here they go with the rest.
        temporary = folder / "tmp"
        temporary.mkdir()
        self._environment = kept | _FIXED_ENVIRONMENT | {"TMPDIR": str(temporary)}

    def unpack(self, source: Source) -> None:
        """Put the source into the folder and check that it is a Linux that can be used."""
        if source.path.is_dir():
            _check_version(source.path, source.name)
            shutil.copytree(source.path, self.source, symlinks=True, ignore=_NOT_COPIED)
            self._make("mrproper")
        elif source.path.suffix == ".deb":
            self._unpack_package(source)
        else:
            self._unpack_tarball(source.path, source.name)
        _check_version(self.source, source.name)

    def extend(self, additions: Additions) -> None:
        """Apply the patches and copy the modules."""
        self._local_version = local_version(additions, self.kind)
        for patch in additions.patches:
            argv = ["patch", "-p1", "--fuzz=0", "--forward", "--batch", "-i", str(patch)]
            if self._run(argv, "patch.log").returncode:
                raise BackendError(
                    f"the patch {patch.name} does not fit Linux {self.version()}; "
                    "change it, or give another source with --source"
                )
        if additions.modules.is_dir():
            shutil.copytree(additions.modules, self.source, dirs_exist_ok=True)

    def configure(self, additions: Additions) -> None:
        """Make the .config and check that Kconfig accepted every wanted symbol."""
        wanted = join_fragments(path.read_text() for path in additions.fragments)
        fragment = self._folder / "wanted.config"
        fragment.write_text(wanted)
        self._make(f"KCONFIG_ALLCONFIG={fragment}", "allnoconfig")
        if missing := missing_symbols(wanted, (self.source / ".config").read_text()):
            raise BackendError(
                f"Linux {self.version()} did not accept {', '.join(missing)}; look for what "
                "they depend on, or give another source with --source"
            )

    def compile(self, jobs: int, tick: Callable[[float], None]) -> Path:
        """Build the kernel and return what is to be kept; tick gets the fraction that is done."""

        def look() -> None:
            if self.log_path.exists():
                log = self.log_path.read_bytes()
                tick(build_log.fraction_done(log, self.kind.expected_files))

        # Given even if empty, it would be part of the lab's command line, which is recorded.
        named = [f"LOCALVERSION={self._local_version}"] if self._local_version else []
        self._make(f"-j{jobs}", *named, self.kind.goal, tick=look)
        result = self.source / self.kind.result
        return result if self.kind.is_process else self._pack(result)

    def version(self) -> str:
        """Return the version of the source, such as 7.3.4."""
        return _version_of(self.source)

    def release(self) -> str:
        """Return what the kernel will say it is: its version, and for a machine, of which build."""
        return self.version() + self._local_version

    def _pack(self, image: Path) -> Path:
        """Make a package of the kernel; the log stays that of the compilation."""
        root, package = self._folder / PACKAGE_ROOT, self._folder / self.kind.product
        lay_out(self.source, image, self.release(), self.version(), root)
        argv, log = package_argv(root, package), self._folder / "package.log"
        outcome = watch(argv, log_path=log, env=self._environment | EPOCH)
        self._require(outcome, "the kernel cannot be packed")
        return package

    def _unpack_package(self, source: Source) -> None:
        package = self._folder / "package"
        argv = ["dpkg-deb", "--extract", str(source.path), str(package)]
        self._require(self._run(argv, "unpack.log"), f"cannot unpack {source.name}")
        # Ubuntu has a link beside the folder in which the tarball is.
        tarballs = [path for path in package.rglob("linux-source-*.tar.*") if path.is_file()]
        if not tarballs:
            raise SpecError(f"{source.name} holds no kernel source")
        self._unpack_tarball(tarballs[0], source.name)
        shutil.rmtree(package)

    def _unpack_tarball(self, tarball: Path, name: str) -> None:
        self.source.mkdir()
        argv = ["tar", "--extract", "--strip-components=1", "--no-same-owner"]
        argv += [f"--exclude={_NOT_UNPACKED}"]
        argv += [f"--file={tarball}", f"--directory={self.source}"]
        self._require(self._run(argv, "unpack.log"), f"cannot unpack {name}")

    def _make(self, *arguments: str, tick: Callable[[], None] = lambda: None) -> None:
        argv = ["make", f"ARCH={self.kind.arch}", *_HIDDEN_TOOLS, *arguments]
        outcome = self._run(argv, "build.log", tick)
        self._require(outcome, "the kernel does not build")

    def _run(
        self, argv: Sequence[str], log_name: str, tick: Callable[[], None] = lambda: None
    ) -> Outcome:
        self.log_path = self._folder / log_name
        cwd = self.source if self.source.exists() else None
        return watch(argv, log_path=self.log_path, env=self._environment, cwd=cwd, tick=tick)

    def _require(self, outcome: Outcome, what: str) -> None:
        if not outcome.returncode:
            return
        if build_log.is_disk_full(outcome.output) or is_full(self._folder):
            raise disk_full(self._folder.parent)
        raise BackendError(f"{what}: {build_log.first_error(outcome.output)}")


def _version_of(source: Path) -> str:
    makefile = (source / "Makefile").read_text()
    fields: dict[str, str] = dict(re.findall(r"^(\w+) = *(\S*)$", makefile, re.MULTILINE))
    numbers = [fields.get(name, "") for name in ("VERSION", "PATCHLEVEL", "SUBLEVEL")]
    return ".".join(filter(None, numbers)) + fields.get("EXTRAVERSION", "")


def _check_version(source: Path, name: str) -> None:
    if not all((source / part).is_file() for part in ("Makefile", "arch/um/Makefile")):
        raise SpecError(f"{name} is not a Linux source: it has no arch/um/Makefile")
    version = _version_of(source)
    numbers = [int(number) for number in re.findall(r"\d+", version)[:2]]
    if tuple(numbers) < OLDEST_VERSION:
        raise SpecError(f"{name} is Linux {version}; the lab needs 6.16 or later")
