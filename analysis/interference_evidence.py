# SPDX-License-Identifier: Apache-2.0
"""Whether a middlebox did to the segments what it was to do, by captures on both of its sides.

Each function looks at what was sent to the middlebox (near) and at what came out of it (far), in
either direction, and says what it found, when the first changed segment came out, and what is
missing if the behaviour did not happen.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from analysis.parse.segments import Seen
from testbed import packet
from testbed.packet import Segment

Key = tuple[Any, ...]


@dataclass(frozen=True)
class Way:
    """One direction: what was sent to the middlebox, and what came out of it."""

    near: list[Seen]
    far: list[Seen]

    @property
    def sent(self) -> list[Segment]:
        """The segments that were sent."""
        return [seen.segment for seen in self.near]

    @property
    def arrived(self) -> list[Segment]:
        """The segments that came out."""
        return [seen.segment for seen in self.far]


@dataclass(frozen=True)
class Passage:
    """Both directions of the connections through the middlebox.

    Attributes:
        up: from the client, down: to the client.
    """

    up: Way
    down: Way

    @property
    def ways(self) -> tuple[Way, Way]:
        """Both."""
        return self.up, self.down


@dataclass(frozen=True)
class Finding:
    """What became of the segments.

    Attributes:
        said: in one sentence.
        first_ns: when the first one that the middlebox changed came out, or was to; None if it
            changed none.
        is_met: whether the behaviour happened.
    """

    said: str
    first_ns: int | None
    is_met: bool


def passage_of(client: list[Seen], server: list[Seen], port: int) -> Passage:
    """Return both directions from the captures on the client's and on the server's side."""
    up = Way(list(_to(client, port)), list(_to(server, port)))
    down = Way(list(_from(server, port)), list(_from(client, port)))
    return Passage(up, down)


def _to(seen: Iterable[Seen], port: int) -> Iterator[Seen]:
    return (one for one in seen if one.segment.target_port == port)


def _from(seen: Iterable[Seen], port: int) -> Iterator[Seen]:
    return (one for one in seen if one.segment.source_port == port)


def same(passage: Passage, said: dict[str, Any]) -> Finding:
    """Nothing is changed."""
    changed = 0
    for way in passage.ways:
        sent = _keys(way.sent, _whole)
        changed += sum(_whole(segment) not in sent for segment in way.arrived)
    count = sum(len(way.far) for way in passage.ways)
    text = f"{changed} of {count} segments came out changed"
    return Finding(text, None, count > 0 and not changed)


def _whole(one: Segment) -> Key:
    return (one.source, one.target, one.source_port, one.target_port, one.seq, one.ack, one.flags,
            one.window, one.options, one.payload)  # fmt: skip


def _keys(segments: Iterable[Segment], key: Callable[[Segment], Key]) -> set[Key]:
    return {key(segment) for segment in segments}


def stripped(passage: Passage, said: dict[str, Any]) -> Finding:
    """From some segment on, none has MPTCP's option of a subtype, of SYNs if it is about them."""
    subtype, is_syn = said["subtype"], said.get("is_syn", False)

    def is_meant(segment: Segment) -> bool:
        is_ack = bool(segment.flags & packet.ACK)
        return not is_syn or (segment.is_syn() and is_ack == said["is_ack"])

    first_ns, left, lost = [], 0, 0
    for way in passage.ways:
        having = _keys((s for s in way.sent if is_meant(s) and s.has(subtype)), _place)
        meant = [seen for seen in way.far if is_meant(seen.segment)]
        bare = [seen.t_ns for seen in meant
                if _place(seen.segment) in having and not seen.segment.has(subtype)]  # fmt: skip
        first_ns += bare[:1]
        lost += len(bare)
        # What passed before may come later than what the other direction shows.
        left += sum(seen.segment.has(subtype) and seen.t_ns >= bare[0] for seen in meant if bare)
    text = f"{lost} segments came out without the option, {left} with it since then"
    return Finding(text, min(first_ns, default=None), lost > 0 and not left)


def _place(segment: Segment) -> Key:
    return segment.seq, segment.ack, segment.flags, len(segment.payload)


def dropped(passage: Passage, said: dict[str, Any]) -> Finding:
    """No segment with MPTCP's option of a subtype comes out."""
    subtype = said["subtype"]
    sent = [seen for way in passage.ways for seen in way.near if seen.segment.has(subtype)]
    left = sum(segment.has(subtype) for way in passage.ways for segment in way.arrived)
    text = f"{len(sent)} segments were sent with the option, {left} came out"
    return Finding(text, sent[0].t_ns if sent else None, bool(sent) and not left)


def translated(passage: Passage, said: dict[str, Any]) -> Finding:
    """What comes from the client has another address and port on the far side."""
    before, after = ({(s.source, s.source_port) for s in side}
                     for side in (passage.up.sent, passage.up.arrived))  # fmt: skip
    is_met = bool(after) and all(a[0] != b[0] and a[1] != b[1] for a in after for b in before)
    text = f"{_ends(before)} became {_ends(after)}"
    return Finding(text, passage.up.far[0].t_ns if passage.up.far else None, is_met)


def _ends(ends: set[tuple[bytes, int]]) -> str:
    return (
        ", ".join(sorted(f"{packet.text(address)}:{port}" for address, port in ends)) or "nothing"
    )


def renumbered(passage: Passage, said: dict[str, Any]) -> Finding:
    """Both initial sequence numbers are others, and all later ones are as far from them."""
    sides = [(passage.up.sent, passage.down.arrived), (passage.up.arrived, passage.down.sent)]
    firsts = [tuple(_first_seq(side) for side in both) for both in sides]
    if any(number is None for pair in firsts for number in pair):
        return Finding("no handshake was captured", None, False)
    relative = []
    for both, numbers in zip(sides, firsts, strict=True):
        up, down = (int(number or 0) for number in numbers)
        relative.append((_relative(both[0], up, down), _relative(both[1], down, up)))
    (up_near, down_far), (up_far, down_near) = relative
    odd = len(up_far - up_near) + len(down_far - down_near)
    changed = sum(a != b for a, b in zip(*firsts, strict=True))
    text = f"{changed} of 2 initial numbers changed, {odd} segments do not go with them"
    return Finding(text, passage.up.far[0].t_ns, changed == 2 and not odd)


def _first_seq(segments: list[Segment]) -> int | None:
    return next((segment.seq for segment in segments if segment.is_syn()), None)


def _relative(segments: list[Segment], mine: int, other: int) -> Counter[Key]:
    """Count segments by what they are relative to the initial numbers of both directions."""

    def acknowledged(segment: Segment) -> Key:
        if not segment.flags & packet.ACK:
            return (None,)
        shifted = packet.shift_acknowledgements(segment, -other)
        return shifted.ack, tuple(o for o in shifted.options if o.kind == packet.SACK)

    return Counter(
        ((one.seq - mine) % packet.MODULO, len(one.payload), *acknowledged(one)) for one in segments
    )


def split(passage: Passage, said: dict[str, Any]) -> Finding:
    """Data comes out in more and smaller segments, none of which is as it was sent."""
    sent, arrived = _data(passage.down.near), _data(passage.down.far)
    whole = {_span(seen) for seen in sent if len(seen.segment.payload) > 1}
    left = sum(_span(seen) in whole for seen in arrived)
    is_met = len(arrived) > len(sent) and not left
    text = f"{len(sent)} data segments became {len(arrived)}, {left} came out whole"
    return Finding(text, arrived[0].t_ns if arrived else None, is_met)


def joined(passage: Passage, said: dict[str, Any]) -> Finding:
    """Data comes out in fewer segments, most of which hold two that were sent."""
    sent, arrived = _data(passage.down.near), _data(passage.down.far)
    starts = {seen.segment.seq for seen in sent}
    sizes: dict[int, int] = {}
    for seen in sent:
        size = sizes.get(seen.segment.seq, 0)
        sizes[seen.segment.seq] = max(size, len(seen.segment.payload))
    double = [
        seen
        for seen in arrived
        if len(seen.segment.payload) > sizes.get(seen.segment.seq, 1 << 16)
        and (seen.segment.seq + sizes[seen.segment.seq]) % packet.MODULO in starts
    ]
    text = f"{len(sent)} data segments became {len(arrived)}, {len(double)} of them two in one"
    is_met = len(double) > len(arrived) / 2
    return Finding(text, double[0].t_ns if double else None, is_met)


def edited(passage: Passage, said: dict[str, Any]) -> Finding:
    """One place of the payload is other than it was sent."""
    sent: dict[int, bytes] = {}
    for segment in passage.down.sent:
        if len(segment.payload) > len(sent.get(segment.seq, b"")):
            sent[segment.seq] = segment.payload
    others = [
        seen
        for seen in _data(passage.down.far)
        if seen.segment.seq in sent and _differ(seen.segment.payload, sent[seen.segment.seq])
    ]
    if not others:
        return Finding("no payload was changed", None, False)
    first = others[0].segment
    longer = len(first.payload) - len(sent[first.seq])
    text = f"a payload of {len(first.payload)} bytes came out changed, {longer} bytes longer"
    return Finding(text, others[0].t_ns, True)


def _differ(one: bytes, other: bytes) -> bool:
    size = min(len(one), len(other))
    return one[:size] != other[:size]


def ordered(passage: Passage, said: dict[str, Any]) -> Finding:
    """Segments are missing, and none comes out beyond a missing one."""
    sent = [*_data(passage.down.near)]
    arrived = Counter(_span(seen) for seen in _data(passage.down.far))
    missing = Counter(_span(seen) for seen in sent) - arrived
    beyond = 0
    edges: dict[int, int] = {}
    for seen in _data(passage.down.far):
        segment = seen.segment
        edge = edges.setdefault(segment.target_port, segment.seq)
        beyond += packet.after(segment.seq, edge) > 0
        if packet.after(segment.end, edge) > 0:
            edges[segment.target_port] = segment.end
    first = next((seen.t_ns for seen in sent if _span(seen) in missing), None)
    count = sum(missing.values())
    text = f"{count} of {len(sent)} data segments did not come out, {beyond} came beyond a hole"
    return Finding(text, first, count > 0 and not beyond)


def _data(seen: Iterable[Seen]) -> list[Seen]:
    return [one for one in seen if one.segment.payload]


def _span(seen: Seen) -> Key:
    return seen.segment.target_port, seen.segment.seq, len(seen.segment.payload)


KINDS: dict[str, Callable[[Passage, dict[str, Any]], Finding]] = {
    "same": same,
    "stripped": stripped,
    "dropped": dropped,
    "translated": translated,
    "renumbered": renumbered,
    "split": split,
    "joined": joined,
    "edited": edited,
    "ordered": ordered,
}


def examine(passage: Passage, said: dict[str, Any]) -> Finding:
    """Return what a passage shows of the behaviour that run.json says."""
    return KINDS[said["kind"]](passage, said)
