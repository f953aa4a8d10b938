# SPDX-License-Identifier: Apache-2.0
"""Marks packets where a queue is longer than a threshold, as switches do for DCTCP (RFC 8257, 3.1).

lab_link does not mark. A BPF program sees every packet on its way into the queue of an interface
(tcx, Linux 6.6), at the time at which it arrives there, and knows rate and limit: so it knows how
long the queue is, to within a packet, and marks the packets that say they can be (RFC 3168) once it
is longer than the threshold. That holds while rate and limit stay and nothing is lost at random.
"""

import ctypes
import os
import platform
import struct

from testbed.errors import BackendError, PrerequisiteError

# include/uapi/linux/bpf.h
MAP_CREATE, PROG_LOAD, PROG_ATTACH = 0, 5, 8
MAP_TYPE_ARRAY, PROG_TYPE_SCHED_CLS, TCX_EGRESS = 2, 3, 47
KTIME_GET_NS, SKB_ECN_SET_CE = 5, 97
TCX_NEXT = -1
ATTR_BYTES = 128
SYSTEM_CALL = {"x86_64": 321, "aarch64": 280}

# Opcodes of instructions, which are struct bpf_insn: code, registers, offset, constant.
INSTRUCTION = struct.Struct("=BBhi")
LOAD_CONSTANT, LOAD_WORD, LOAD_LONG, STORE_LONG = 0x18, 0x61, 0x79, 0x7B
MOVE, MOVE_CONSTANT, ADD, ADD_CONSTANT, SUBTRACT = 0xBF, 0xB7, 0x0F, 0x07, 0x1F
MULTIPLY, SHIFT_RIGHT_CONSTANT, CALL, EXIT = 0x2F, 0x77, 0x85, 0x95
IF_GREATER, IF_NOT_GREATER = 0x2D, 0xBD
PSEUDO_MAP_VALUE = 2

ETHERNET_BYTES = 14
# Of the time that a byte takes, in ns.
FRACTION_BITS = 20

_libc = ctypes.CDLL(None, use_errno=True)


def mark_queue(index: int, rate_bps: int, limit_bytes: int, threshold_bytes: int) -> None:
    """Let the queue of an interface of this thread's namespace mark packets; it cannot be undone.

    Args:
        index: of the interface, whose queueing discipline is a lab_link.
        rate_bps, limit_bytes: of that.
        threshold_bytes: a packet that finds more than this waiting is marked.

    Raises:
        PrerequisiteError: the kernel has no such programs.
    """
    map_fd = _bpf(MAP_CREATE, struct.pack("=5I", MAP_TYPE_ARRAY, 4, 8, 1, 0))
    try:
        code = program(map_fd, rate_bps // 8, limit_bytes, threshold_bytes)
        program_fd = _load(code)
    finally:
        os.close(map_fd)
    try:
        _bpf(PROG_ATTACH, struct.pack("=4I", index, program_fd, TCX_EGRESS, 0))
    finally:
        os.close(program_fd)


def program(map_fd: int, rate: int, limit_bytes: int, threshold_bytes: int) -> bytes:
    """Return the program; its state is the time at which the queue will be empty.

    Args:
        map_fd: of a map with one value of 8 bytes.
        rate: bytes per second.
        limit_bytes, threshold_bytes: of the queue.
    """
    byte_ns = (10**9 << FRACTION_BITS) // rate
    limit_ns, threshold_ns = (size * 10**9 // rate for size in (limit_bytes, threshold_bytes))
    parts = [
        _code(MOVE, 6, 1),
        _code(LOAD_WORD, 8, 1),  # the packet's length, with its Ethernet header
        _code(CALL, constant=KTIME_GET_NS),
        _code(MOVE, 9, 0),
        _constant(7, map_fd, PSEUDO_MAP_VALUE),
        _code(ADD_CONSTANT, 8, constant=-ETHERNET_BYTES),
        _constant(1, byte_ns),
        _code(MULTIPLY, 8, 1),
        _code(SHIFT_RIGHT_CONSTANT, 8, constant=FRACTION_BITS),  # time that the packet takes
        _code(LOAD_LONG, 2, 7),
        _code(IF_GREATER, 2, 9, 1),
        _code(MOVE, 2, 9),
        _code(MOVE, 3, 2),
        _code(SUBTRACT, 3, 9),  # time that the packet waits
        _code(MOVE, 4, 3),
        _code(ADD, 4, 8),
        _constant(5, limit_ns),
        _code(IF_GREATER, 4, 5, 7),  # to the end: the packet will be dropped
        _code(ADD, 2, 8),
        _code(STORE_LONG, 7, 2),
        _constant(5, threshold_ns),
        _code(IF_NOT_GREATER, 3, 5, 2),  # to the end
        _code(MOVE, 1, 6),
        _code(CALL, constant=SKB_ECN_SET_CE),
        _code(MOVE_CONSTANT, 0, constant=TCX_NEXT),
        _code(EXIT),
    ]
    return b"".join(parts)


def _code(code: int, to: int = 0, source: int = 0, offset: int = 0, constant: int = 0) -> bytes:
    return INSTRUCTION.pack(code, source << 4 | to, offset, constant)


def _constant(to: int, value: int, kind: int = 0) -> bytes:
    """Return the two instructions that load 64 bits, or the address of a map's value."""
    low, high = struct.unpack("=ii", struct.pack("=Q", value))
    return _code(LOAD_CONSTANT, to, kind, constant=low) + _code(0, constant=high)


def _load(code: bytes) -> int:
    instructions, licence = ctypes.create_string_buffer(code), ctypes.create_string_buffer(b"GPL")
    count = len(code) // INSTRUCTION.size
    places = ctypes.addressof(instructions), ctypes.addressof(licence)
    return _bpf(PROG_LOAD, struct.pack("=2I2Q", PROG_TYPE_SCHED_CLS, count, *places))


def _bpf(command: int, attributes: bytes) -> int:
    number = SYSTEM_CALL.get(platform.machine())
    if number is None:
        raise PrerequisiteError(
            f"queues that mark packets are not known on {platform.machine()}; "
            "use another congestion control than dctcp"
        )
    content = ctypes.create_string_buffer(attributes.ljust(ATTR_BYTES, b"\0"), ATTR_BYTES)
    result: int = _libc.syscall(number, command, content, ATTR_BYTES)
    if result < 0:
        reason = os.strerror(ctypes.get_errno()).lower()
        raise BackendError(f"the kernel takes no program that marks packets: bpf: {reason}")
    return result
