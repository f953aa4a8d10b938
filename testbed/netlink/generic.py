# SPDX-License-Identifier: Apache-2.0
"""Generic netlink: the number of a family and those of its groups, by name."""

import struct

from testbed.errors import PrerequisiteError
from testbed.netlink.message import (
    NLM_F_ACK,
    NetlinkSocket,
    message,
    split_attrs,
    split_messages,
    text,
)

# include/uapi/linux/genetlink.h
NETLINK_GENERIC = 16
GENL_ID_CTRL = 16
CTRL_CMD_GETFAMILY = 3
CTRL_ATTR_FAMILY_ID = 1
CTRL_ATTR_FAMILY_NAME = 2
CTRL_ATTR_MCAST_GROUPS = 7
CTRL_ATTR_MCAST_GRP_NAME = 1
CTRL_ATTR_MCAST_GRP_ID = 2

GENL = struct.Struct("=BBH")


def find_family(genl: NetlinkSocket, name: str, missing: str) -> tuple[int, dict[str, int]]:
    """Return the number of a family and those of its multicast groups by name.

    Args:
        genl: a socket of NETLINK_GENERIC.
        name: of the family.
        missing: what to say when the kernel does not have it.

    Raises:
        PrerequisiteError: the kernel does not have it.
    """
    body = GENL.pack(CTRL_CMD_GETFAMILY, 2, 0) + text(CTRL_ATTR_FAMILY_NAME, name)
    # The acknowledgement after the answer ends the reading.
    for kind, _, answer in split_messages(genl.dump(message(GENL_ID_CTRL, NLM_F_ACK, body))):
        if kind == GENL_ID_CTRL:
            attrs = split_attrs(answer[GENL.size :])
            (number,) = struct.unpack("=H", attrs[CTRL_ATTR_FAMILY_ID])
            return number, _groups(attrs.get(CTRL_ATTR_MCAST_GROUPS, b""))
    raise PrerequisiteError(missing)


def _groups(data: bytes) -> dict[str, int]:
    groups = {}
    for entry in split_attrs(data).values():
        attrs = split_attrs(entry)
        name = attrs[CTRL_ATTR_MCAST_GRP_NAME].rstrip(b"\0").decode()
        groups[name] = struct.unpack("=I", attrs[CTRL_ATTR_MCAST_GRP_ID])[0]
    return groups
