# SPDX-License-Identifier: Apache-2.0
"""What Vagrant says with --machine-readable: lines, stages, the state of a machine, errors."""

import re
from dataclasses import dataclass
from pathlib import Path

from testbed.errors import BackendError, PrerequisiteError, TestbedError
from testbed.vm.machine import Connection, State


@dataclass(frozen=True)
class Message:
    """One line: `time,target,kind,data...`; commas in data are written as %!(VAGRANT_COMMA).

    Attributes:
        target: the machine's name, or "".
        kind: such as `ui`, `state`, `error-exit`.
        data: the rest.
    """

    target: str
    kind: str
    data: tuple[str, ...]


_STATES = {
    "running": State.RUNNING,
    "shutoff": State.OFF,
    "poweroff": State.OFF,
    "aborted": State.OFF,
    "saved": State.OFF,
    "paused": State.OFF,
    "not_created": State.ABSENT,
}

# The beginning of what Vagrant says, and what it is doing then.
_STAGES = (
    ("Box 'mptcp-testbed", "unpack the box"),
    ("Adding box", "unpack the box"),
    ("Unpacking necessary files", "unpack the box"),
    ("Uploading base box image", "give the box to libvirt"),
    ("Creating image", "make the machine's disk"),
    ("Importing base box", "make the machine's disk"),
    ("Creating shared folders", "make the machine"),
    ("Creating domain", "make the machine"),
    ("Starting domain", "boot"),
    ("Booting VM", "boot"),
    ("Waiting for domain to get an IP address", "boot"),
    ("Waiting for machine to boot", "wait until one can log in"),
    ("Running provisioner", "install packages in the machine"),
    ("Machine booted and ready", "wait until one can log in"),
    ("Halting domain", "shut down"),
    ("Attempting graceful shutdown", "shut down"),
    ("Removing domain", "remove the machine"),
    ("Destroying VM", "remove the machine"),
)

_SENTENCES: tuple[tuple[str, type[TestbedError], str], ...] = (
    (
        r"VagrantPlugins::ProviderLibvirt::Errors::DomainNameExists|Name `[^`]*` of domain about "
        r"to create is already taken|domain '[^']*' already exists",
        BackendError,
        'the name "{name}" belongs to a virtual machine that the testbed did not make; '
        "give another with --name, or remove that one ('virsh undefine {name}')",
    ),
    (
        r"VM(?:BoxManage)? .*already exists|A VirtualBox machine with the name",
        BackendError,
        'the name "{name}" belongs to a virtual machine of VirtualBox that the testbed did not '
        "make; give another with --name, or remove that one",
    ),
    (
        r"provider '?(?:libvirt|virtualbox)'? could not be found|provider for '[^']*' couldn't be "
        r"found|ProviderNotFound|ProviderNotUsable|NoDefaultProvider",
        PrerequisiteError,
        "Vagrant has no provider {provider} here; run './setup vm', or use --provider qemu",
    ),
    (
        r"Failed to connect socket|connecting to libvirt|Permission denied.*libvirt|"
        r"authentication unavailable|access denied by policy",
        PrerequisiteError,
        "libvirt does not answer this user; start it with 'sudo systemctl start libvirtd' and "
        "join its group with 'sudo adduser $USER libvirt', or use --provider qemu",
    ),
    (
        r"VMBootTimeout|Timed out while waiting for the machine to boot|"
        r"waiting for the domain to get an IP|didn't get an IP",
        BackendError,
        "the virtual machine did not boot in time; see 'virsh console {name}', or give it "
        "another --acceleration",
    ),
    (
        r"MachineLocked|lock.*is held by another process|is locked",
        BackendError,
        "another vagrant is busy with this machine; wait for its end and try again",
    ),
    (
        r"[Nn]o space left|ENOSPC",
        PrerequisiteError,
        "no space is left for the virtual machine's disk (libvirt keeps disks in its own pool); "
        "free some",
    ),
)


def parse(text: str) -> list[Message]:
    """Return the complete lines of an output; what is no such line is left out."""
    found = []
    for line in text.splitlines():
        fields = line.split(",")
        if len(fields) >= 3 and fields[0].isdigit():
            data = tuple(_unescape(field) for field in fields[3:])
            found.append(Message(fields[1], fields[2], data))
    return found


def _unescape(field: str) -> str:
    return field.replace("%!(VAGRANT_COMMA)", ",").replace("\\n", "\n").replace("\\r", "\r")


def stage_of(text: str) -> str | None:
    """Return what Vagrant is doing, from its whole output so far."""
    last = None
    for message in parse(text):
        if message.kind == "ui":
            said = re.sub(r"^(?:==> )?[\w-]*: *", "", message.data[-1]).strip()
            last = next((stage for start, stage in _STAGES if said.startswith(start)), last)
    return last


def state_of(text: str) -> State:
    """Return what `vagrant status` says; a state nobody knows is a machine that does not run."""
    for message in parse(text):
        if message.kind == "state":
            return _STATES.get(message.data[0], State.OFF)
    return State.ABSENT


def connection_of(text: str, key: Path | None, host_key: str) -> Connection:
    """Return how to reach the machine, from `vagrant ssh-config`.

    Args:
        text: its output, as people get it.
        key: the private key, or None for what Vagrant names.
        host_key: the machine's own.

    Raises:
        BackendError: it says nothing of the kind.
    """
    fields = dict(re.findall(r'^\s+(\w+) "?(.*?)"?$', text, re.MULTILINE))
    try:
        identity = key or Path(fields["IdentityFile"])
        return Connection(
            fields["HostName"], int(fields["Port"]), fields["User"], identity, host_key
        )
    except (KeyError, ValueError):
        raise BackendError(
            "Vagrant does not say how to reach the virtual machine; "
            "see 'testbed vm status' and start it with 'testbed vm up'"
        ) from None


def explain(output: str, name: str, provider: str) -> TestbedError:
    """Return the error that Vagrant's output tells of, as one sentence with a next step."""
    for pattern, kind, sentence in _SENTENCES:
        if re.search(pattern, output):
            return kind(sentence.format(name=name, provider=provider))
    errors = [message.data for message in parse(output) if message.kind == "error-exit"]
    reason = errors[-1][-1] if errors else _last_line(output)
    first = " ".join(reason.split())[:300].rstrip(".")
    return BackendError(f"vagrant failed: \"{first}\"; see 'testbed vm status'")


def _last_line(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
