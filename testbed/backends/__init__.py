# SPDX-License-Identifier: Apache-2.0
"""How to reach a machine that carries out runs: one kind of machine per file."""

from collections.abc import Callable, Iterable
from typing import Any

from testbed.backends.base import Backend
from testbed.errors import SpecError

Ask = Callable[[str], str]


def _lab(address: str, ask_password: Ask | None) -> Backend:
    from testbed.backends.lab import LabBackend

    return LabBackend()


def _host(address: str, ask_password: Ask | None) -> Backend:
    from testbed.backends.host import HostBackend

    return HostBackend()


def _ssh(address: str, ask_password: Ask | None) -> Backend:
    from testbed.backends.remote.address import resolve
    from testbed.backends.ssh import SshBackend

    return SshBackend(resolve(address), ask_password=ask_password)


def _vagrant(address: str, ask_password: Ask | None) -> Backend:
    from testbed.backends.vagrant import VagrantBackend

    return VagrantBackend()


# By the word before a colon: how to make one, and what has to follow, if anything has.
BACKEND_KINDS: dict[str, tuple[Callable[[str, Ask | None], Backend], str]] = {
    "lab": (_lab, ""),
    "host": (_host, ""),
    "ssh": (_ssh, "USER@HOST[:PORT]"),
    "vagrant": (_vagrant, ""),
}


def check_backend(text: str) -> str:
    """Return the name of a backend as it was given.

    Raises:
        SpecError: there is none of that name.
    """
    kind, _, address = text.partition(":")
    forms = [f"{name}:{form}" if form else name for name, (_, form) in BACKEND_KINDS.items()]
    if kind not in BACKEND_KINDS or bool(address) != bool(BACKEND_KINDS[kind][1]):
        raise SpecError(f'there is no backend "{text}"; there are {", ".join(forms)}')
    if kind == "ssh":
        from testbed.backends.remote.address import parse_address

        parse_address(address)
    return text


def make_backend(text: str, ask_password: Ask | None = None) -> Backend:
    """Return the backend of a name such as `lab` or `ssh:root@192.0.2.1`.

    Args:
        text: its name.
        ask_password: called with a question when a machine wants a password.

    Raises:
        SpecError: there is none of that name.
    """
    kind, _, address = check_backend(text).partition(":")
    return BACKEND_KINDS[kind][0](address, ask_password)


def check_plans(text: str, plans: Iterable[dict[str, Any]]) -> None:
    """Refuse runs that a machine is known to be unable to carry out, before it is reached.

    Args:
        text: name of the backend.
        plans: contents of run.json.

    Raises:
        PlanError: there is such a run. Of machines that are not ours, only their kernel knows.
    """
    if text == "lab":
        from testbed.lab.features import check_names

        check_names(plans)
