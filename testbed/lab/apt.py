# SPDX-License-Identifier: Apache-2.0
"""apt's own client, used as an ordinary user and without touching the machine's package state.

Everything apt writes goes to a private folder; what it reads of the machine is how to reach the
mirror (proxies, certificates) and the keys that packages are verified with.
"""

import contextlib
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from testbed.errors import PrerequisiteError, SpecError, TestbedError
from testbed.lab.cache import disk_full, is_full
from testbed.lab.mirror import TARGET_FORMAT, Mirror, choose_mirror, parse_os_release
from testbed.lab.watch import Outcome, watch
from testbed.process import run

OS_RELEASE = Path("/etc/os-release")
INSTEAD = "give a kernel source with --source"

# Read after the machine's own configuration, so it prevails. Hooks of the machine's apt are for
# the machine's packages. An unreachable mirror must be an error, not a warning. As root, apt
# would download as another user, who cannot read our folder.
_CONFIGURATION = """\
Dir::State "{folder}";
Dir::State::lists "{folder}/lists";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}/cache";
Dir::Etc::sourcelist "{folder}/sources.list";
Dir::Etc::sourceparts "{folder}/none";
Dir::Etc::preferences "{folder}/none";
Dir::Etc::preferencesparts "{folder}/none";
Acquire::Languages "none";
Acquire::Retries "3";
APT::Update::Error-Mode "any";
APT::Sandbox::User "root";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
"""

_UNREACHABLE = re.compile(
    r"resolving|Could not (?:connect|resolve)|Unable to connect|[Cc]onnection (?:failed|refused|"
    r"timed out|reset)|Network is unreachable|503|502"
)
_NO_KEY = re.compile(r"NO_PUBKEY|is not signed|no public key|not available|Missing key", re.I)


@dataclass(frozen=True)
class Package:
    """A package that a suite offers."""

    name: str
    version: str
    size_bytes: int


def find_mirror() -> Mirror:
    """Return the mirror that this machine's apt is configured for.

    Raises:
        PrerequisiteError: this machine has no apt, or no known distribution's archive.
    """
    if not shutil.which("apt-get"):
        raise PrerequisiteError(f"this machine has no apt to fetch a kernel source; {INSTEAD}")
    os_release = parse_os_release(OS_RELEASE.read_text()) if OS_RELEASE.exists() else {}
    return choose_mirror(configured_targets(), os_release)


def configured_targets() -> str:
    """Return what this machine's apt is configured for, in lines of TARGET_FORMAT."""
    argv = ["apt-get", "indextargets", "--format", TARGET_FORMAT, "Identifier: Packages"]
    known = run(argv, timeout_s=60, env=_environment())
    # Without --no-release-info apt hides the sources whose lists it has never fetched.
    return known + run([*argv, "--no-release-info"], timeout_s=60, env=_environment())


class PrivateApt:
    """apt on one suite of one mirror, with its state in a folder of its own.

    Args:
        folder: where apt may write; the caller removes it.
        mirror: whom to ask.
        suite: the name of the suite, such as `trixie-backports`.
    """

    def __init__(self, folder: Path, mirror: Mirror, suite: str) -> None:
        self.folder = folder
        self.suite = suite
        self._mirror = mirror
        for name in ("lists/partial", "cache/archives/partial", "none", "download", "tmp"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / "status").touch()
        (folder / "sources.list").write_text(mirror.source_line(suite))
        (folder / "apt.conf").write_text(_CONFIGURATION.format(folder=folder))

    def update(self) -> None:
        """Fetch the list of packages and verify its signature.

        Raises:
            SpecError: there is no such suite.
            PrerequisiteError: the mirror cannot be reached or verified.
        """
        outcome = self._apt("apt-get", "update")
        if outcome.returncode:
            raise self._explain(outcome.output)

    def packages(self, pattern: str) -> list[Package]:
        """Return the packages whose name matches a regular expression."""
        found = self._apt("apt-cache", "search", "--names-only", pattern).output
        names = re.findall(r"^(\S+) - ", found, re.MULTILINE)
        return [self._candidate(name) for name in names]

    def download(self, package: Package, tick: Callable[[float], None]) -> Path:
        """Fetch a package, verify it and return its file; tick gets the fraction that is here."""
        folder = self.folder / "download"

        def count() -> None:
            tick(min(_size_bytes(folder) / package.size_bytes, 1.0))

        outcome = self._apt("apt-get", "download", package.name, cwd=folder, tick=count)
        files = list(folder.glob("*.deb"))
        if outcome.returncode or not files:
            raise self._explain(outcome.output)
        return files[0]

    def _candidate(self, name: str) -> Package:
        text = self._apt("apt-cache", "show", "--no-all-versions", name).output
        fields = dict(re.findall(r"^(Version|Size): (.*)$", text, re.MULTILINE))
        return Package(name, fields["Version"], int(fields["Size"]))

    def _apt(
        self,
        program: str,
        *arguments: str,
        cwd: Path | None = None,
        tick: Callable[[], None] = lambda: None,
    ) -> Outcome:
        argv = [program, f"--config-file={self.folder / 'apt.conf'}", *arguments]
        log_path = self.folder / "apt.log"
        # Killed while it verifies a signature, apt leaves temporary files; here they go too.
        env = _environment() | {"TMPDIR": str(self.folder / "tmp")}
        return watch(argv, log_path=log_path, env=env, cwd=cwd, tick=tick)

    def _explain(self, output: str) -> TestbedError:
        archive = self._mirror.distribution.origin
        if "No space left" in output or is_full(self.folder):
            return disk_full(self.folder.parent)
        if _UNREACHABLE.search(output):
            return PrerequisiteError(
                f"the {archive} mirror of this machine cannot be reached; check the network, "
                f"or {INSTEAD}"
            )
        if "does not have a Release file" in output or "404" in output:
            return SpecError(
                f"the {archive} mirror of this machine has no suite '{self.suite}'; "
                f"name another with --suite, or {INSTEAD}"
            )
        if _NO_KEY.search(output):
            return PrerequisiteError(
                f"this machine has no key to verify {archive}'s suite '{self.suite}'; install "
                f"the newest {self._mirror.distribution.name}-archive-keyring, or {INSTEAD}"
            )
        reasons = [line[3:] for line in output.splitlines() if line.startswith("E: ")]
        reason = re.sub(r"\w+://\S+", "the mirror", reasons[0]) if reasons else "no reason given"
        return PrerequisiteError(
            f"apt could not fetch from the suite '{self.suite}' ({reason}); {INSTEAD}"
        )


def _size_bytes(folder: Path) -> int:
    """Return how much lies in a folder, in which apt may rename files meanwhile."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


def _environment() -> dict[str, str]:
    """Return our environment, with the language that _explain reads."""
    return {**os.environ, "LC_ALL": "C"}
