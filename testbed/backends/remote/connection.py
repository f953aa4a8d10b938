# SPDX-License-Identifier: Apache-2.0
"""One connection to a machine behind SSH: its key is checked, then we log in, then we ask."""

import base64
import hashlib
import logging
import shlex
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import paramiko

from testbed.backends.remote.address import SshTarget
from testbed.backends.remote.patience import Patience
from testbed.errors import BackendError, PrerequisiteError

AskPassword = Callable[[str], str]
KEEPALIVE_S = 5
CHUNK_BYTES = 1 << 18
LOOK_S = 0.5
EXIT_UNKNOWN = -1

# Of an answer: names and hashes of a quarter of a million files.
MOST_BYTES = 1 << 25

# What its threads have to say comes to us as exceptions too.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


class ConnectionLost(BackendError):
    """The machine cannot be reached, or does not answer any more; perhaps later."""


class Connection:
    """A connection; use it as a context manager.

    Args:
        target: the machine.
        patience: how long to wait.
        password: to log in with, besides the target's own.

    Raises:
        ConnectionLost: the machine does not answer.
        PrerequisiteError: its key is not the known one, or it does not let us in.
    """

    def __init__(self, target: SshTarget, patience: Patience, password: str | None = None) -> None:
        self._target = target
        self._patience = patience
        self._proxy = _Proxy(target.proxy_command) if target.proxy_command else None
        self._client = paramiko.SSHClient()
        try:
            _trust(self._client, target)
            with _named(target, is_open=False):
                self._connect(password or target.password)
        except BaseException:
            self.close()
            raise

    def _connect(self, password: str | None) -> None:
        target, patience = self._target, self._patience
        if absent := [file for file in target.key_files if not file.is_file()]:
            raise PrerequisiteError(f"the key {absent[0]} for {target.label} does not exist")
        keys: Any = [str(file) for file in target.key_files]
        is_open = not target.key_files and password is None
        self._client.connect(
            target.host,
            port=target.port,
            username=target.user,
            password=password,
            key_filename=keys,
            timeout=patience.connect_s,
            banner_timeout=patience.connect_s,
            auth_timeout=patience.connect_s,
            channel_timeout=patience.connect_s,
            allow_agent=is_open,
            look_for_keys=is_open,
            sock=self._proxy.socket if self._proxy else None,
        )
        transport = self._client.get_transport()
        assert transport is not None
        transport.set_keepalive(KEEPALIVE_S)

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float | None = None
    ) -> tuple[int, bytes, str]:
        """Run a command to its end; return exit status, output and error output.

        Raises:
            ConnectionLost: no answer, or no end, in time.
        """
        limit_s = self._patience.answer_s if timeout_s is None else timeout_s
        with _named(self._target), self._channel(argv) as channel:
            channel.settimeout(limit_s)
            with suppress(OSError):  # a command may end before it has read all; then it says why
                channel.sendall(stdin)
                channel.shutdown_write()
            output = self._whole(channel.recv)
            said = self._whole(channel.recv_stderr)
            return self._exit_status(channel, limit_s), output, said.decode(errors="replace")

    def _whole(self, receive: Callable[[int], bytes]) -> bytes:
        """Return an answer to its end, which must not be too far."""
        parts: list[bytes] = []
        left_bytes = MOST_BYTES
        while part := receive(CHUNK_BYTES):
            parts.append(part)
            left_bytes -= len(part)
            if left_bytes < 0:
                raise BackendError(f"{self._target.label} gave an answer that does not end")
        return b"".join(parts)

    def _exit_status(self, channel: paramiko.Channel, limit_s: float) -> int:
        """Return the exit status; without one the connection ended before the command did."""
        if not channel.status_event.wait(limit_s):
            raise ConnectionLost(f"{self._target.label} did not answer for {limit_s:.0f} s")
        if channel.exit_status == EXIT_UNKNOWN:
            raise ConnectionLost(f"the connection to {self._target.label} was lost")
        return channel.exit_status

    def stream(
        self, argv: Sequence[str], *, is_wanted: Callable[[], bool] = lambda: True
    ) -> Iterator[bytes]:
        """Run a command and yield its output as it comes, until it ends with exit status 0.

        Args:
            argv: the command; its standard input stays open as long as it is listened to.
            is_wanted: asked now and then; False ends the stream.

        Raises:
            ConnectionLost: nothing came for too long, or the end came without a status of 0.
        """
        with _named(self._target), self._channel(argv) as channel:
            channel.settimeout(LOOK_S)
            heard_s = time.monotonic()
            while is_wanted():
                try:
                    data = channel.recv(CHUNK_BYTES)
                except TimeoutError:
                    if time.monotonic() - heard_s > self._patience.answer_s:
                        raise
                    continue
                heard_s = time.monotonic()
                if not data:
                    status = self._exit_status(channel, self._patience.answer_s)
                    if status != 0:
                        raise ConnectionLost(f"{argv[0]} on {self._target.label} exited {status}")
                    return
                yield data

    @contextmanager
    def _channel(self, argv: Sequence[str]) -> Iterator[paramiko.Channel]:
        """Open a channel with a command.

        The protocol carries one string, which the user's shell on the machine takes apart again;
        shlex.join is made for that, and nothing but our own arguments gets in.
        """
        transport = self._client.get_transport()
        if transport is None:
            raise ConnectionLost(f"the connection to {self._target.label} was lost")
        channel = transport.open_session(timeout=self._patience.connect_s)
        with channel:
            channel.settimeout(self._patience.answer_s)
            channel.exec_command(shlex.join(argv))
            yield channel

    def close(self) -> None:
        """End the connection."""
        self._client.close()
        if self._proxy is not None:
            self._proxy.close()

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class _Proxy:
    """A command whose standard streams lead to the server."""

    def __init__(self, command: str) -> None:
        self.socket, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = subprocess.Popen(
                    shlex.split(command),
                    stdin=theirs.fileno(),
                    stdout=theirs.fileno(),
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,  # Ctrl-C is for us; we need it to clean up
                )
            except (OSError, ValueError) as error:
                self.socket.close()
                raise PrerequisiteError(f'the ProxyCommand "{command}" fails: {error}') from error

    def close(self) -> None:
        """End the command."""
        self.socket.close()
        self._process.terminate()
        try:
            self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class _Unknown(paramiko.MissingHostKeyPolicy):
    """Refuses a machine whose key nobody vouches for."""

    def __init__(self, target: SshTarget) -> None:
        self._target = target

    def missing_host_key(self, client: Any, hostname: str, key: paramiko.PKey) -> None:
        """Say what was shown and how it becomes known."""
        label, port = self._target.label, self._target.port
        if self._target.host_keys:
            raise PrerequisiteError(
                f"the host key of {label} is {fingerprint(key)}, which is not the one that "
                "belongs to it; something else answers there"
            )
        raise PrerequisiteError(
            f"the host key of {label} is not known: it is {fingerprint(key)}; if that is what "
            f"'ssh-keygen -lf' says on the machine, log in once with "
            f"'ssh -p {port} {self._target.user}@{self._target.host}'"
        )


def fingerprint(key: paramiko.PKey) -> str:
    """Return kind and SHA-256 of a key as OpenSSH prints them."""
    digest = base64.b64encode(hashlib.sha256(key.asbytes()).digest()).decode().rstrip("=")
    return f"{key.get_name()} SHA256:{digest}"


def _trust(client: paramiko.SSHClient, target: SshTarget) -> None:
    """Load the keys that the machine may have."""
    client.set_missing_host_key_policy(_Unknown(target))
    for line in target.host_keys:
        entry = paramiko.hostkeys.HostKeyEntry.from_line(f"{target.known_as} {line}")
        if entry is None or entry.key is None:
            raise PrerequisiteError(f'the host key "{line}" of {target.label} is no key')
        client.get_host_keys().add(target.known_as, entry.key.get_name(), entry.key)
    for file in () if target.host_keys else target.known_hosts:
        with suppress(OSError):
            client.load_system_host_keys(str(file))


@contextmanager
def _named(target: SshTarget, *, is_open: bool = True) -> Iterator[None]:
    """Turn what can happen on the way into one sentence."""
    label = target.label
    try:
        yield
    except BackendError:
        raise
    except paramiko.BadHostKeyException as error:
        raise PrerequisiteError(
            f"the host key of {label} has changed: it is {fingerprint(error.key)}, known is "
            f"{fingerprint(error.expected_key)}; if the machine was really set up anew, run "
            f"'ssh-keygen -R {target.known_as}' and log in once with ssh"
        ) from error
    except paramiko.AuthenticationException as error:
        if _was_cut(error):
            raise ConnectionLost(f"the connection to {label} was lost at the login") from error
        raise PrerequisiteError(_refusal(target)) from error
    except TimeoutError as error:
        raise ConnectionLost(f"{label} did not answer in time") from error
    except (paramiko.SSHException, EOFError) as error:
        if _is_about_keys(error):
            raise PrerequisiteError(_refusal(target)) from error
        reason = str(error).rstrip(".").lower() or "the connection ended"
        raise ConnectionLost(f"the connection to {label} was lost: {reason}") from error
    except OSError as error:
        reason = _reason(error)
        if is_open:
            raise ConnectionLost(f"the connection to {label} was lost: {reason}") from error
        raise ConnectionLost(
            f"{label} cannot be reached: {reason}; is it on, and does its SSH server listen on "
            f"port {target.port}?"
        ) from error


def _reason(error: OSError) -> str:
    """Say why a connection failed; of several addresses the first one counts."""
    cause: Any = error
    if isinstance(error, paramiko.ssh_exception.NoValidConnectionsError):
        cause = next(iter(error.errors.values()))
    return (cause.strerror or str(cause)).lower()


def _was_cut(error: Exception) -> bool:
    """Say whether a login failed because nobody answered; paramiko has one class for both."""
    said = str(error).lower()
    return "eof" in said or "timeout" in said


def _is_about_keys(error: Exception) -> bool:
    said = str(error).lower()
    return "no authentication methods" in said or "not a valid" in said or "private key" in said


def _refusal(target: SshTarget) -> str:
    if target.password is not None:
        how = "with this password"
    elif target.key_files:
        how = f"with the key {' or '.join(map(str, target.key_files))}"
    else:
        how = "with the keys of the agent and of ~/.ssh"
    return (
        f"{target.label} does not let {target.user} in {how}; try "
        f"'ssh -p {target.port} {target.user}@{target.host}', and name a key with IdentityFile "
        "in ~/.ssh/config"
    )
