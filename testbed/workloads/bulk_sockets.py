# SPDX-License-Identifier: Apache-2.0
"""Sockets of bulk flows: made in a node's namespace, with the options a flow asks for."""

import ctypes
import os
import socket
from typing import Any

from testbed.errors import BackendError, CommandError, PrerequisiteError
from testbed.workloads.bulk_flow import Flow

CLONE_NEWNET = 0x40000000
SOL_MPTCP, MPTCP_INFO, IPPROTO_MPTCP = 284, 1, 262
TCP_IS_MPTCP = 43  # include/uapi/linux/tcp.h
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33
MPTCP_INFO_BYTES = 96
MAX_BACKLOG = 4096
_libc = ctypes.CDLL(None, use_errno=True)


def make_socket(flow: Flow) -> socket.socket:
    """Return a socket that does not block, in the namespace of this thread.

    Raises:
        PrerequisiteError: the kernel lacks the transport or the congestion control.
    """
    protocol = IPPROTO_MPTCP if flow.transport == "mptcp" else socket.IPPROTO_TCP
    try:
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK, protocol)
    except OSError as error:
        raise PrerequisiteError(
            f"the kernel makes no {flow.transport} socket: {reason(error)}"
        ) from error
    set_options(made, flow)
    return made


def make_listener(flow: Flow) -> socket.socket:
    """Return a listening socket for a flow's port, in the namespace of this thread.

    Raises:
        CommandError: somebody else listens there.
    """
    listener = make_socket(flow)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        # All addresses, so that subflows to an announced one find the listener too.
        listener.bind(("0.0.0.0", flow.port))
        listener.listen(MAX_BACKLOG)
    except OSError as error:
        raise CommandError(
            f"{flow.server} cannot listen on port {flow.port}: {reason(error)}"
        ) from error
    return listener


def set_options(made: socket.socket, flow: Flow) -> None:
    """Give a socket what its flow asks for, before it connects or listens.

    Raises:
        PrerequisiteError: the kernel has no such congestion control.
    """
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if flow.send_buffer_bytes is not None:
        made.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, flow.send_buffer_bytes)
    if flow.receive_buffer_bytes is not None:
        made.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, flow.receive_buffer_bytes)
    if flow.congestion_control is not None:
        name = flow.congestion_control.encode()
        try:
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, name)
        except OSError as error:
            raise PrerequisiteError(
                f"the kernel has no congestion control {flow.congestion_control}: {reason(error)}"
            ) from error


def transport_facts(connection: socket.socket) -> dict[str, Any]:
    """Say whether a connection is MPTCP now and with how many subflows."""
    try:
        is_mptcp = bool(connection.getsockopt(socket.IPPROTO_TCP, TCP_IS_MPTCP))
    except OSError:  # a kernel before 5.16
        is_mptcp = False
    if not is_mptcp:
        return {"is_mptcp": False, "subflows": 0}
    try:
        info = connection.getsockopt(SOL_MPTCP, MPTCP_INFO, MPTCP_INFO_BYTES)
    except OSError:  # it has fallen back to TCP
        return {"is_mptcp": False, "subflows": 0}
    return {"is_mptcp": True, "subflows": info[0] + 1}  # mptcpi_subflows: after the first


def enter_namespace(path: str) -> None:
    """Move this thread into the namespace that a path such as /proc/1/fd/5 leads to."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.setns(fd, CLONE_NEWNET):
            raise BackendError(f"setns failed: {os.strerror(ctypes.get_errno()).lower()}")
    finally:
        os.close(fd)


def reason(error: OSError) -> str:
    """Return what an error says, in lower case."""
    return (error.strerror or str(error)).lower()
