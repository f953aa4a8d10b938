# SPDX-License-Identifier: Apache-2.0
"""Which machine `ssh:USER@HOST:PORT` is, with what ~/.ssh/config says of it."""

import getpass
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testbed.errors import SpecError

# Another file than ~/.ssh/config, such as what `vagrant ssh-config` prints.
CONFIG = "TESTBED_SSH_CONFIG"
SYSTEM_KNOWN_HOSTS = Path("/etc/ssh/ssh_known_hosts")
PORT = 22
_ADDRESS = re.compile(
    r"(?:(?P<user>[^@:\s/-][^@:\s/]*)@)?"
    r"(?P<host>\[[0-9A-Fa-f:.%\w]+\]|[^@:\s/-][^@:\s/]*)"
    r"(?::(?P<port>\d+))?"
)


@dataclass(frozen=True)
class SshTarget:
    """A machine behind SSH and how to log in.

    Attributes:
        host: name or address to connect to.
        port: of its SSH server.
        user: who logs in; root, or somebody who may use sudo without a password.
        key_files: private keys; with none, the agent's and those in ~/.ssh are tried.
        password: instead of a key.
        proxy_command: a command whose standard streams lead to the server; run without a shell.
        known_hosts: files with the keys of hosts.
        host_keys: lines "TYPE BASE64"; when there are some, only these are accepted.
        is_own: the machine serves nobody else, so settings of the whole machine may change.
        name: what messages call it.
    """

    host: str
    port: int = PORT
    user: str = ""
    key_files: tuple[Path, ...] = ()
    password: str | None = None
    proxy_command: str | None = None
    known_hosts: tuple[Path, ...] = ()
    host_keys: tuple[str, ...] = ()
    is_own: bool = False
    name: str = ""

    @property
    def label(self) -> str:
        """What messages call the machine."""
        return self.name or (self.host if self.port == PORT else f"{self.host}:{self.port}")

    @property
    def known_as(self) -> str:
        """The name in a file of known hosts."""
        return self.host if self.port == PORT else f"[{self.host}]:{self.port}"


def parse_address(text: str) -> tuple[str | None, str, int | None]:
    """Return user, host and port of USER@HOST:PORT, None for what it does not say.

    Raises:
        SpecError: it is none.
    """
    match = _ADDRESS.fullmatch(text)
    port = int(match["port"]) if match and match["port"] else None
    if match is None or (port is not None and not 0 < port < 65_536):
        raise SpecError(f'"{text}" is no machine; write ssh:USER@HOST or ssh:USER@HOST:PORT')
    return match["user"], match["host"].strip("[]"), port


def resolve(text: str, config_file: Path | None = None) -> SshTarget:
    """Return the machine of USER@HOST:PORT; HOST may be an alias of an SSH configuration.

    HostName, Port, User, IdentityFile, ProxyCommand and UserKnownHostsFile are read. Keys of hosts
    are always checked, whatever StrictHostKeyChecking says.

    Args:
        text: the address.
        config_file: by default ~/.ssh/config, or what the environment variable CONFIG names.

    Raises:
        SpecError: it is no address, or the file cannot be read.
    """
    user, alias, port = parse_address(text)
    said = _lookup(alias, config_file)
    known = said.get("userknownhostsfile", "~/.ssh/known_hosts ~/.ssh/known_hosts2")
    proxy = said.get("proxycommand")
    return SshTarget(
        host=said.get("hostname", alias),
        port=port or int(said.get("port", PORT)),
        user=user or said.get("user") or getpass.getuser(),
        key_files=tuple(Path(name).expanduser() for name in said.get("identityfile", ())),
        proxy_command=proxy if proxy and proxy.lower() != "none" else None,
        known_hosts=(*(Path(name).expanduser() for name in known.split()), SYSTEM_KNOWN_HOSTS),
        name=alias if port is None else f"{alias}:{port}",
    )


def _lookup(alias: str, config_file: Path | None) -> dict[str, Any]:
    given = os.environ.get(CONFIG)
    file = config_file or (Path(given) if given else Path("~/.ssh/config").expanduser())
    if not file.exists():
        if given or config_file:
            raise SpecError(f"the SSH configuration {file} does not exist; see {CONFIG}")
        return {}
    from paramiko import ConfigParseError, SSHConfig

    try:
        return dict(SSHConfig.from_path(str(file)).lookup(alias))
    except (ConfigParseError, OSError, UnicodeDecodeError) as error:
        raise SpecError(f"the SSH configuration {file} cannot be read: {error}") from error
