# SPDX-License-Identifier: Apache-2.0
"""What a middlebox's behaviours are called, why each ends as it does, and what others reported.

An explanation belongs to an outcome. Where a run ends otherwise there is none, for it would be
wrong: whoever sees that (another kernel, say) has something to find out.

How common a behaviour is: C. Raiciu et al., "How hard can it be?" (NSDI 2012), section 3, after M.
Honda et al., "Is it still possible to extend TCP?" (IMC 2011, 142 networks); paths of all ports
measured, and of port 80. What Linux MPTCP v0 did: RFC 8041's draft, tests with MBtest.
"""

from dataclasses import dataclass

NOT_REPORTED = "not reported"
OPTIONS = "6 % of paths (14 % on port 80) remove unknown options from SYNs"
NO_EFFECT, CLEAN = "no effect", "clean fallback to TCP"
ONE_SIDED = (
    "the client goes on as TCP and tells nobody, while the server gets no DATA_ACK and sends again "
    "on the same subflow what TCP has delivered: the application reads it as new data"
)
WRONG_BUT_WHOLE = (
    "nothing checks what the middlebox wrote, so the application reads it, as with TCP"
)
BOTH_PLAIN = (
    "the checksum fails, MP_FAIL and an infinite mapping make both ends go on as TCP, and the "
    "application reads what the middlebox wrote"
)
SEPARATE = "the subflow is reset, its data are sent again on the other path"


@dataclass(frozen=True)
class Words:
    """What is said of a behaviour.

    Attributes:
        does: what the middlebox does.
        why: why the connection ends as it does, by outcome.
        common: how common the behaviour is.
        before: what Linux MPTCP v0 did.
    """

    does: str
    why: dict[str, str]
    common: str = NOT_REPORTED
    before: str = NOT_REPORTED


BEHAVIOURS = {
    "control": Words(
        "does nothing (two paths)", {"survives": "both subflows carry data"}, "-", "-"
    ),
    "control-announced": Words(
        "does nothing (the server announces an address)",
        {"survives": "the client joins the announced address"},
        "-",
        "-",
    ),
    "nat": Words(
        "translates address and port",
        {"survives": "a connection is known by its token, not by addresses"},
        before=NO_EFFECT,
    ),
    "rewrite-seq": Words(
        "randomises initial sequence numbers",
        {"survives": "mappings count from the subflow's initial sequence number"},
        "10 % of paths (18 % on port 80)",
        NO_EFFECT,
    ),
    "split": Words(
        "splits segments, options on both parts",
        {"survives": "a mapping may be longer than the segment that carries it, and come twice"},
        before=NO_EFFECT,
    ),
    "split-options-once": Words(
        "splits segments, options on the first part",
        {"survives": "a mapping may be longer than the segment that carries it"},
        before=NO_EFFECT,
    ),
    "coalesce": Words(
        "joins two segments, options of the first",
        {"connection lost": f"half of the data have no mapping, so {ONE_SIDED}"},
        before=NO_EFFECT,
    ),
    "hole": Words(
        "lets no data pass beyond a missing segment",
        {
            "survives": "subflows have sequence numbers of their own, so only real losses are "
            "holes; one costs a timeout and all that was sent after it"
        },
        "5 % of paths (11 % on port 80)",
    ),
    "strip-add-addr": Words(
        "strips ADD_ADDR",
        {
            "connection lost": "the announcement is the server's first packet, and without the "
            f"option it looks as if the server did not speak MPTCP: {ONE_SIDED}"
        },
    ),
    "drop-add-addr": Words(
        "drops packets with ADD_ADDR",
        {"survives": "the client never hears of the address and makes no subflow to it"},
    ),
    "strip-capable-syn": Words(
        "strips MP_CAPABLE from the SYN",
        {"falls back to TCP": "the server answers as to TCP, and the client sees that"},
        OPTIONS,
        CLEAN,
    ),
    "strip-capable-synack": Words(
        "strips MP_CAPABLE from the SYN/ACK",
        {"falls back to TCP": "the client sees no MPTCP, and its ACK without it tells the server"},
        OPTIONS,
        CLEAN,
    ),
    "strip-join-syn": Words(
        "strips MP_JOIN from the SYN",
        {"subflow reset": "the client resets a subflow whose SYN/ACK does not join"},
        OPTIONS,
    ),
    "strip-join-synack": Words(
        "strips MP_JOIN from the SYN/ACK",
        {"subflow reset": "the client resets a subflow whose SYN/ACK does not join"},
        OPTIONS,
    ),
    "strip-dss-from-start": Words(
        "strips DSS, download",
        {"connection lost": f"no data has a mapping: {ONE_SIDED}"},
        before=CLEAN,
    ),
    "strip-dss-from-start-upload": Words(
        "strips DSS, upload",
        {
            "falls back to TCP": "an ACK without DSS tells the client before it has sent much, and "
            "data without DSS tells the server"
        },
        before=CLEAN,
    ),
    "strip-dss-only": Words(
        "strips DSS in mid-connection, one path",
        {"connection lost": f"data have no mapping any more: {ONE_SIDED}"},
        before=CLEAN,
    ),
    "strip-dss-one-of-two": Words(
        "strips DSS in mid-connection, two paths",
        {"subflow reset": f"with a second subflow there is no fallback: {SEPARATE}"},
    ),
    "payload": Words(
        "changes payload, no checksum",
        {"survives": WRONG_BUT_WHOLE},
    ),
    "payload-checksum-only": Words(
        "changes payload, DSS checksum, one path",
        {
            "falls back to TCP": BOTH_PLAIN,
        },
    ),
    "payload-checksum-one-of-two": Words(
        "changes payload, DSS checksum, two paths",
        {"subflow reset": f"the checksum fails: {SEPARATE}"},
    ),
    "payload-longer": Words(
        "makes payload longer, no checksum",
        {"connection lost": f"bytes without a mapping were put in: {ONE_SIDED}"},
    ),
    "payload-longer-checksum-only": Words(
        "makes payload longer, DSS checksum, one path",
        {
            "falls back to TCP": BOTH_PLAIN,
        },
    ),
    "payload-longer-checksum-one-of-two": Words(
        "makes payload longer, DSS checksum, two paths",
        {"subflow reset": f"the checksum fails: {SEPARATE}"},
    ),
}


def explain(behaviour: str, outcome: str) -> str | None:
    """Return why a behaviour has an outcome, None if that is not known."""
    words = BEHAVIOURS.get(behaviour)
    return words.why.get(outcome) if words else None
