# SPDX-License-Identifier: Apache-2.0
"""Uses the backend `host` inside the lab, whose kernel is then "this machine's":
python3 host_guest.py RUN_DIR [cancel]
"""

import json
import os
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from testbed.backends.base import Cancelled
from testbed.backends.host import HostBackend
from testbed.emulation.links import LINKS, NETEM

os.environ[LINKS] = NETEM
os.environ["XDG_CACHE_HOME"] = "/tmp/cache"
cancelled = threading.Event()
said = []


def listen(report):
    said.append(report)
    if len(sys.argv) > 2 and report["stage"] == "measure":
        cancelled.set()


def others():
    """Return what runs beside us and the kernel's own threads."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        words = place.read_bytes().split(b"\0")
        if words != [b""] and int(place.parent.name) not in (1, os.getpid()):
            found.append(b" ".join(words).decode())
    return found


backend = HostBackend()
kernel = backend.up()
try:
    status = backend.run(Path(sys.argv[1]), 1, listen, cancelled)
except Cancelled:
    status = "cancelled"
left = {"processes": others(), "download": Path("/tmp/download").exists()}
print(json.dumps({"kernel": kernel, "status": status, "said": said, "left": left}))
