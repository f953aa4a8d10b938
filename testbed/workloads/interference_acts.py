# SPDX-License-Identifier: Apache-2.0
"""What an interfering middlebox does to the segments that pass it; each act is one behaviour.

An act gets every segment of the connections to the server's port and returns what goes on
instead. It reads no clock and opens nothing: a segment in, segments out.
"""

import random
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from testbed import packet
from testbed.packet import Option, Segment

# Two of these, with TCP's options, are one packet of the usual size.
HALF_MSS = 720
MOST_PAYLOAD = 1448

# What an ALG puts in the place of the first bytes of a segment: an address, as in FTP's PORT.
ADDRESS = b"198,51,100,7,9,9"
LONGER_ADDRESS = b"198,51,100,107,199,99"
LEAST_PAYLOAD = 64


class Act:
    """One behaviour.

    Args:
        port: of the server, by which directions are told apart.
        after_bytes: of payload to the client, before which the connection is left alone.
    """

    def __init__(self, port: int, after_bytes: int = 0) -> None:
        self._port = port
        self._after_bytes = after_bytes
        self._passed: dict[tuple[bytes, int], int] = {}

    def take(self, segment: Segment) -> list[Segment]:
        """Return what goes on instead of a segment."""
        raise NotImplementedError

    @property
    def is_holding(self) -> bool:
        """Whether a segment is held back until another one comes, or a while has passed."""
        return False

    def flush(self) -> list[Segment]:
        """Return what was held back, when nothing has come for a while."""
        return []

    def is_to_client(self, segment: Segment) -> bool:
        """Say whether a segment goes the way of the download."""
        return segment.source_port == self._port

    def connection(self, segment: Segment) -> tuple[bytes, int]:
        """Return the client's address and port."""
        if self.is_to_client(segment):
            return segment.target, segment.target_port
        return segment.source, segment.source_port

    def is_due(self, segment: Segment) -> bool:
        """Say whether the connection has carried enough to begin, and count the segment."""
        key = self.connection(segment)
        passed = self._passed.get(key, 0)
        if self.is_to_client(segment):
            self._passed[key] = passed + len(segment.payload)
        return passed >= self._after_bytes


class StripOption(Act):
    """Replaces MPTCP's options of one subtype by NOPs, in both directions."""

    def __init__(self, port: int, after_bytes: int = 0, *, subtype: int) -> None:
        super().__init__(port, after_bytes)
        self._subtype = subtype

    def take(self, segment: Segment) -> list[Segment]:
        """Return the segment, without the option if it is time."""
        is_due = self.is_due(segment)
        return [packet.without_mptcp(segment, self._subtype) if is_due else segment]


class DropOption(Act):
    """Drops every segment that has an MPTCP option of one subtype."""

    def __init__(self, port: int, after_bytes: int = 0, *, subtype: int) -> None:
        super().__init__(port, after_bytes)
        self._subtype = subtype

    def take(self, segment: Segment) -> list[Segment]:
        """Return the segment if it has no such option."""
        return [] if segment.has(self._subtype) else [segment]


class RewriteSequence(Act):
    """Adds a random number to the sequence numbers of each connection and direction.

    As firewalls do that randomise the initial one; what comes back is translated, SACK too.
    """

    def __init__(self, port: int, after_bytes: int = 0, *, seed: int) -> None:
        super().__init__(port, after_bytes)
        self._seed = seed

    def take(self, segment: Segment) -> list[Segment]:
        """Return the segment with other numbers."""
        mine, other = (self._offset(segment, way) for way in self._ways(segment))
        shifted = replace(segment, seq=(segment.seq + mine) % packet.MODULO)
        return [packet.shift_acknowledgements(shifted, -other)]

    def _ways(self, segment: Segment) -> tuple[str, str]:
        return ("down", "up") if self.is_to_client(segment) else ("up", "down")

    def _offset(self, segment: Segment, way: str) -> int:
        address, port = self.connection(segment)
        return random.Random(f"{self._seed}:{address.hex()}:{port}:{way}").getrandbits(32)


class Split(Act):
    """Splits each data segment in two.

    Args:
        is_copied: whether both get the options, as from a NIC with TSO, or only the first.
    """

    def __init__(self, port: int, after_bytes: int = 0, *, is_copied: bool) -> None:
        super().__init__(port, after_bytes)
        self._is_copied = is_copied

    def take(self, segment: Segment) -> list[Segment]:
        """Return two segments instead of one with data."""
        if not self.is_to_client(segment) or len(segment.payload) < 2 or segment.is_syn():
            return [segment]
        half = len(segment.payload) // 2
        last = packet.PSH | packet.FIN
        first = replace(segment, payload=segment.payload[:half], flags=segment.flags & ~last)
        options = tuple(o for o in segment.options if self._is_copied or o.kind != packet.MPTCP)
        rest = segment.payload[half:]
        seq = (segment.seq + half) % packet.MODULO
        return [first, replace(segment, payload=rest, seq=seq, options=options, padding=b"")]


class Coalesce(Act):
    """Makes one of two data segments that follow one another; it has the options of the first.

    The handshake's MSS is halved, so that two fit into a packet.
    """

    def __init__(self, port: int, after_bytes: int = 0) -> None:
        super().__init__(port, after_bytes)
        self._held: dict[tuple[bytes, int], Segment] = {}

    def take(self, segment: Segment) -> list[Segment]:
        """Return nothing for the first of two, and one segment for the second."""
        if segment.is_syn():
            return [packet.limit_mss(segment, HALF_MSS)]
        if not self.is_to_client(segment):
            return [segment]
        key = self.connection(segment)
        held = self._held.pop(key, None)
        if held is None and segment.payload and not segment.flags & packet.FIN:
            self._held[key] = segment
            return []
        return self._joined(held, segment)

    def _joined(self, held: Segment | None, segment: Segment) -> list[Segment]:
        if held is None:
            return [segment]
        size = len(held.payload) + len(segment.payload)
        if held.end != segment.seq or not segment.payload or size > MOST_PAYLOAD:
            return [held, segment]
        flags = held.flags | segment.flags
        return [replace(held, payload=held.payload + segment.payload, flags=flags, ack=segment.ack)]

    @property
    def is_holding(self) -> bool:
        """Whether a segment waits for its second."""
        return bool(self._held)

    def flush(self) -> list[Segment]:
        """Return what has no second."""
        found = list(self._held.values())
        self._held.clear()
        return found


@dataclass(frozen=True)
class Edit:
    """A change of the payload: what is at `seq` for `old` bytes is `new` now."""

    seq: int
    old: int
    new: bytes

    @property
    def shift(self) -> int:
        """By how much what follows is moved."""
        return len(self.new) - self.old


class ChangePayload(Act):
    """Writes another address into one segment, as an ALG does, and translates what follows.

    Args:
        is_longer: whether the new address is longer; sequence numbers are adjusted then.
    """

    def __init__(self, port: int, after_bytes: int = 0, *, is_longer: bool) -> None:
        super().__init__(port, after_bytes)
        self._new = LONGER_ADDRESS if is_longer else ADDRESS
        self._edits: dict[tuple[bytes, int], Edit] = {}

    def take(self, segment: Segment) -> list[Segment]:
        """Return the segment as it has to be after the change."""
        if segment.is_syn():
            # So that what is made longer still fits.
            return [self._with_room(segment)]
        key, is_due = self.connection(segment), self.is_due(segment)
        is_fit = self.is_to_client(segment) and len(segment.payload) >= LEAST_PAYLOAD
        if is_due and is_fit and key not in self._edits:
            self._edits[key] = Edit(segment.seq, len(ADDRESS), self._new)
        edit = self._edits.get(key)
        if edit is None:
            return [segment]
        if self.is_to_client(segment):
            return [edited(segment, edit)]
        return [acknowledging(segment, edit)]

    def _with_room(self, segment: Segment) -> Segment:
        room = len(self._new) - len(ADDRESS)
        known = [int.from_bytes(o.data, "big") for o in segment.options if o.kind == packet.MSS]
        return packet.limit_mss(segment, known[0] - room) if known and room else segment


def edited(segment: Segment, edit: Edit) -> Segment:
    """Return a segment to the client, changed if it holds what is edited, else moved."""
    at = packet.after(edit.seq, segment.seq)
    if 0 <= at <= len(segment.payload) - edit.old:
        before, rest = segment.payload[:at], segment.payload[at + edit.old :]
        return replace(segment, payload=before + edit.new + rest)
    if at < 0:
        return replace(segment, seq=(segment.seq + edit.shift) % packet.MODULO)
    return segment


def acknowledging(segment: Segment, edit: Edit) -> Segment:
    """Return a segment from the client whose acknowledgements are of the sender's numbers."""

    def back(number: int) -> int:
        beyond = packet.after(number, edit.seq)
        if beyond <= 0:
            return number
        if beyond < len(edit.new):
            return edit.seq  # not all of what is new: it has to come again
        return (number - edit.shift) % packet.MODULO

    def option(one: Option) -> Option:
        if one.kind != packet.SACK:
            return one
        edges = struct.unpack(f"!{len(one.data) // 4}I", one.data)
        return Option(packet.SACK, struct.pack(f"!{len(edges)}I", *map(back, edges)))

    if not segment.flags & packet.ACK:
        return segment
    return replace(segment, ack=back(segment.ack), options=tuple(map(option, segment.options)))


class HoldToOrder(Act):
    """Lets no data segment pass beyond a missing one; drops some in order to have some missing.

    Args:
        every: of the data segments that come in order, one in so many is lost.
    """

    def __init__(self, port: int, after_bytes: int = 0, *, every: int) -> None:
        super().__init__(port, after_bytes)
        self._every = every
        self._edges: dict[tuple[bytes, int], int] = {}
        self._passed_on = 0
        self._lost: set[tuple[bytes, int, int]] = set()

    def take(self, segment: Segment) -> list[Segment]:
        """Return the segment if it comes in order."""
        key = self.connection(segment)
        if not self.is_to_client(segment):
            return [segment]
        if segment.is_syn():
            self._edges[key] = segment.end
            return [segment]
        edge = self._edges.get(key, segment.seq)
        beyond = packet.after(segment.seq, edge)
        if beyond > 0 and segment.length:
            return []
        if packet.after(segment.end, edge) > 0:
            if segment.payload and self._is_lost((*key, segment.seq)):
                return []
            self._edges[key] = segment.end
        return [segment]

    def _is_lost(self, place: tuple[bytes, int, int]) -> bool:
        """Say whether a segment is one of those to lose, each of them once."""
        if (self._passed_on + 1) % self._every == 0 and place not in self._lost:
            self._lost.add(place)
            return True
        self._passed_on += 1
        return False


ACTS: dict[str, Callable[..., Act]] = {
    "strip_option": StripOption,
    "drop_option": DropOption,
    "rewrite_sequence": RewriteSequence,
    "split": Split,
    "coalesce": Coalesce,
    "change_payload": ChangePayload,
    "hold_to_order": HoldToOrder,
}


def make_act(said: dict[str, Any]) -> Act:
    """Return the act that run.json says: its name, and its arguments."""
    arguments = {key: value for key, value in said.items() if key != "name"}
    return ACTS[said["name"]](**arguments)
