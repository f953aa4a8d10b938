# SPDX-License-Identifier: Apache-2.0
"""Segments of a download that pass a middlebox, and what a middlebox makes of them."""

from analysis.interference_evidence import passage_of
from analysis.parse.segments import Seen
from testbed.packet import ACK, PSH, SYN
from testbed.workloads.interference_acts import make_act
from tests.unit.packet_synthetic import (
    CAPABLE,
    CLIENT_ISN,
    DSS_OPTION,
    MSS_OPTION,
    PORT,
    SERVER_ISN,
    SIZE,
    segment,
)


def download(segments=6, size=SIZE):
    """Return the handshake, and data with an acknowledgement each."""
    first = [
        segment(is_down=False, seq=CLIENT_ISN, ack=0, flags=SYN, options=(MSS_OPTION, CAPABLE)),
        segment(seq=SERVER_ISN, ack=CLIENT_ISN + 1, flags=SYN | ACK, options=(MSS_OPTION, CAPABLE)),
    ]
    for number in range(segments):
        seq = (SERVER_ISN + 1 + number * size) % 2**32
        payload = bytes([number + 1]) * size
        first.append(segment(seq=seq, ack=CLIENT_ISN + 1, flags=ACK | PSH, payload=payload,
                             options=(DSS_OPTION,)))  # fmt: skip
        first.append(segment(is_down=False, seq=CLIENT_ISN + 1, ack=(seq + size) % 2**32,
                             options=(DSS_OPTION,)))  # fmt: skip
    return first


def pass_through(act, sent):
    """Return what both sides capture of segments that an act gets in their order."""
    near, far = [], []
    for number, one in enumerate(sent):
        near.append(Seen(10 * number, one))
        far += [Seen(10 * number + 1, new) for new in act.take(one)]
    far += [Seen(10 * len(sent), new) for new in act.flush()]
    return near, far


def passage(sent, said=None, *, change=None):
    """Return the passage of a download through an act, or through a function."""
    if said is not None:
        near, far = pass_through(make_act({"port": PORT, **said}), sent)
    else:
        near = [Seen(10 * n, one) for n, one in enumerate(sent)]
        far = [Seen(seen.t_ns + 1, change(seen.segment)) for seen in near]
    client = [s for s in near if s.segment.target_port == PORT]
    client += [s for s in far if s.segment.source_port == PORT]
    server = [s for s in far if s.segment.target_port == PORT]
    server += [s for s in near if s.segment.source_port == PORT]
    return passage_of(client, server, PORT)
