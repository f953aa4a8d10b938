# SPDX-License-Identifier: Apache-2.0
"""Evidence that a server is ready: a listening socket in /proc/net/tcp (proc(5))."""

TCP_LISTEN = "0A"


def listens(proc_net_tcp: str, port: int) -> bool:
    """Say whether /proc/net/tcp shows a listening socket on a port."""
    for line in proc_net_tcp.splitlines()[1:]:
        fields = line.split()
        if fields[3] == TCP_LISTEN and int(fields[1].partition(":")[2], 16) == port:
            return True
    return False
