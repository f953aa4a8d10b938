# SPDX-License-Identifier: Apache-2.0
"""Memory of TCP, which the kernel would otherwise make depend on the machine's."""

from testbed.emulation.namespace import write_sysctl

# Set by a backend whose kernel is this run's own, so that settings of the whole machine may change.
OWN_KERNEL = "TESTBED_OWN_KERNEL"

# Pages at which TCP is content, presses and refuses (tcp(7)): 256, 384 and 512 MiB. A lab of 1 GiB
# would press from 62 MiB on, which is less than the buffers of a fast path.
TCP_MEMORY_PAGES = (65_536, 98_304, 131_072)


def fix_memory(factor: int = 1) -> None:
    """Let TCP use the same memory however much the machine has.

    Args:
        factor: for a run with so many connections that their buffers together need more.
    """
    write_sysctl("net.ipv4.tcp_mem", " ".join(str(factor * pages) for pages in TCP_MEMORY_PAGES))
