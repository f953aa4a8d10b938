# SPDX-License-Identifier: Apache-2.0
"""Read the kernel's protocol counters, by name: which of them exist differs between kernels."""

from testbed.errors import RunInvalid


def parse_nstat(text: str) -> dict[str, int]:
    """Read /proc/net/netstat and /proc/net/snmp, one after the other.

    Both consist of pairs of lines, names and values, that begin with the same group.

    Returns:
        Counters under the names that nstat prints: "MPTcpExtMPJoinSynRx", "TcpRetransSegs". Look
        them up with `.get(name, 0)`.

    Raises:
        RunInvalid: two lines that belong together differ in group or length, or a value is not a
            number.
    """
    counters: dict[str, int] = {}
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) % 2:
        raise RunInvalid(f"the counters end after a line of names: {lines[-1][:40]!r}")
    for names, values in zip(lines[::2], lines[1::2], strict=True):
        group, *keys = names.split()
        again, *numbers = values.split()
        if group != again or not group.endswith(":") or len(keys) != len(numbers):
            raise RunInvalid(f"the counters have no values for the line {names[:40]!r}")
        try:
            counters |= {group[:-1] + key: int(n) for key, n in zip(keys, numbers, strict=True)}
        except ValueError as e:
            raise RunInvalid(f"a counter of the group {group[:-1]!r} is not a number") from e
    return counters
