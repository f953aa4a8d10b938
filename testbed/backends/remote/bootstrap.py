# SPDX-License-Identifier: Apache-2.0
"""The first two things on a machine, before any code of ours is there: put and clear a folder.

They must run on every Python 3, to say that it is too old.
"""

import io
import tarfile
from pathlib import Path

from testbed.backends.target_code import PACKAGE, target_files

BASE = "/var/tmp"
MAIN = "from testbed.target.agent import main\nmain()\n"

# The folder must be ours by its name; what an attempt before left there is not trusted.
_CLEAR = """
import json, os, shutil, sys
folder = sys.argv[1]
if not os.path.basename(folder).startswith("mptcp-testbed-"):
    sys.exit(9)
if os.path.isdir(folder) and not os.path.islink(folder):
    shutil.rmtree(folder, ignore_errors=True)
"""
CLEAR = _CLEAR + 'print(json.dumps({"removed": not os.path.exists(folder)}))\n'
PUT = (
    _CLEAR
    + """
import tarfile
if sys.version_info < (3, 11):
    print(json.dumps({"python": sys.version.split()[0]}))
    sys.exit(0)
try:
    os.mkdir(folder, 0o700)
    with tarfile.open(fileobj=sys.stdin.buffer, mode="r|") as archive:
        safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        archive.extractall(folder, **safely)
    print(json.dumps({"folder": folder}))
except OSError as error:
    shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps({"error": "%s: %s" % (folder, (error.strerror or str(error)).lower())}))
"""
)


def archive(run_json: bytes | None) -> bytes:
    """Return what a session needs: code/, as sources, and run/run.json.

    Compiled modules would have to match the machine's Python.
    """
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        _add(tar, "code/__main__.py", MAIN.encode())
        for name in target_files():
            _add(tar, f"code/testbed/{name}", (PACKAGE / name).read_bytes())
        if run_json is not None:
            _add(tar, "run/run.json", run_json)
    return packed.getvalue()


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), 0o644
    tar.addfile(entry, io.BytesIO(data))


def agent_argv(python: list[str], session: str, verb: str, *arguments: str) -> list[str]:
    """Return the command that asks the agent in a session's folder."""
    return [*python, "-I", str(Path(session) / "code"), verb, *arguments]
