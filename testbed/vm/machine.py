# SPDX-License-Identifier: Apache-2.0
"""What can be done with a virtual machine, whoever provides it."""

import shutil
from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from testbed.errors import BackendError, CommandError, PrerequisiteError
from testbed.lab.watch import Report
from testbed.process import run
from testbed.vm.places import Vm, state_dir

SSH_TIMEOUT_S = 30.0

# Whatever address the machine gets, its key is that of the box.
KEY_ALIAS = "mptcp-testbed-vm"


class State(StrEnum):
    """What a machine is doing."""

    ABSENT = "absent"
    OFF = "off"
    RUNNING = "running"


@dataclass(frozen=True)
class Connection:
    """How to reach a machine.

    Attributes:
        host: its address.
        port: of its SSH server.
        user: who may log in, and may become root without a password.
        key: the private key that lets in.
        host_key: the machine's own public key, type and key; known before the first connection.
    """

    host: str
    port: int
    user: str
    key: Path
    host_key: str


class Machine(ABC):
    """A virtual machine.

    Args:
        vm: as it was asked for.
    """

    def __init__(self, vm: Vm) -> None:
        self.vm = vm

    @abstractmethod
    def check(self) -> None:
        """Check that the provider can be used at all.

        Raises:
            PrerequisiteError: something of it is missing.
        """

    @abstractmethod
    def start(self, report: Report) -> None:
        """Make the machine if there is none, boot it, and wait until one can log in."""

    @abstractmethod
    def state(self) -> State:
        """Say what it is doing."""

    @abstractmethod
    def halt(self, report: Report) -> None:
        """Shut it down; its disk stays."""

    @abstractmethod
    def destroy(self, report: Report) -> None:
        """End it at once and remove its disk."""

    @abstractmethod
    def connection(self) -> Connection:
        """Return how to reach it while it runs."""


def known_hosts_line(connection: Connection) -> str:
    """Return the machine's key as OpenSSH's known_hosts wants it."""
    return f"{KEY_ALIAS} {connection.host_key}\n"


def ssh_argv(connection: Connection, *, is_batch: bool = False) -> list[str]:
    """Return the command that logs in, and refuses any machine with another key.

    It writes the one file that says which key that is.
    """
    known_hosts = state_dir() / "known_hosts"
    known_hosts.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    known_hosts.write_text(known_hosts_line(connection))
    options = [
        f"UserKnownHostsFile={known_hosts}",
        "GlobalKnownHostsFile=/dev/null",
        "StrictHostKeyChecking=yes",
        f"HostKeyAlias={KEY_ALIAS}",
        "CheckHostIP=no",
        "IdentitiesOnly=yes",
        f"ConnectTimeout={SSH_TIMEOUT_S:.0f}",
        *(["BatchMode=yes"] if is_batch else []),
    ]
    return [
        "ssh",
        *("-F", "none", "-i", str(connection.key), "-p", str(connection.port)),
        *(part for option in options for part in ("-o", option)),
        f"{connection.user}@{connection.host}",
    ]


def try_login(connection: Connection) -> str:
    """Return why nobody can log in yet, or "".

    Raises:
        BackendError: another machine answers there.
    """
    argv = ssh_argv(connection, is_batch=True)
    if not shutil.which(argv[0]):
        raise PrerequisiteError(
            "this machine has no ssh; install it with 'apt-get install openssh-client'"
        )
    try:
        run([*argv, "true"], timeout_s=2 * SSH_TIMEOUT_S)
    except CommandError as error:
        if "Host key verification failed" in str(error):
            raise BackendError(
                f"what answers at {connection.host} port {connection.port} has another key than "
                "the virtual machine; see 'testbed vm status', then 'testbed vm destroy'"
            ) from None
        return str(error)
    return ""
