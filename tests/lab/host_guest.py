# SPDX-License-Identifier: Apache-2.0
"""Uses the backend `host` inside the lab, whose kernel is then "this machine's":
python3 host_guest.py RUN_DIR [cancel|overload]
"""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from testbed.backends.base import Cancelled
from testbed.backends.host import HostBackend
from testbed.emulation.links import LINKS, NETEM

# So many programs that want the one processor for so long.
LOADS, BUSY = 48, "import time; end = time.time() + 8\nwhile time.time() < end: pass"
os.environ[LINKS] = NETEM
os.environ["XDG_CACHE_HOME"] = "/tmp/cache"
cancelled = threading.Event()
said = []
loads = []


def listen(report):
    said.append(report)
    if report["stage"] != "measure" or loads:
        return
    if "cancel" in sys.argv:
        cancelled.set()
    if "overload" in sys.argv:  # as soon as there is something to measure
        loads.extend(subprocess.Popen([sys.executable, "-S", "-c", BUSY]) for _ in range(LOADS))


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
for load in loads:
    load.wait()
left = {"processes": others(), "download": Path("/tmp/download").exists()}
print(json.dumps({"kernel": kernel, "status": status, "said": said, "left": left}))
