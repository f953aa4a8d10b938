# SPDX-License-Identifier: Apache-2.0
import pytest

from testbed.lab.build_log import first_error, fraction_done, is_disk_full

# Ends of real logs; several compilers run at once, so lines of others lie between.
COMPILER = """\
  CC      net/sched/sch_fifo.o
  CC      net/sched/sch_lab_link.o
  CC      net/mptcp/options.o
net/sched/sch_lab_link.c: In function 'lab_link_enqueue':
net/sched/sch_lab_link.c:57:9: error: 'rate' undeclared (first use in this function)
   57 |         rate = 1;
net/sched/sch_lab_link.c:60:1: error: expected ';' before '}' token
make[4]: *** [scripts/Makefile.build:287: net/sched/sch_lab_link.o] Error 1
make[3]: *** [scripts/Makefile.build:544: net/sched] Error 2
make: *** [Makefile:248: __sub-make] Error 2
"""
NO_HEADER = """\
  HOSTCC  scripts/basic/fixdep
scripts/basic/fixdep.c:91:10: fatal error: sys/types.h: No such file or directory
compilation terminated.
make[2]: *** [scripts/Makefile.host:114: scripts/basic/fixdep] Error 1
"""
LINKER = """\
  LD      .tmp_vmlinux1
ld: net/mptcp/protocol.o: in function `mptcp_init':
protocol.c:(.init.text+0x1f): undefined reference to `lab_missing'
make[2]: *** [scripts/Makefile.vmlinux:91: vmlinux.unstripped] Error 1
"""
NO_PROGRAM = """\
  LEX     scripts/kconfig/lexer.lex.c
/bin/sh: 1: flex: not found
make[2]: *** [scripts/Makefile.host:9: scripts/kconfig/lexer.lex.c] Error 127
"""
PATH_WITH_SPACE = """\
Makefile:228: *** source directory cannot contain spaces or colons.  Stop.
"""
NOT_A_TARBALL = """\
xz: (stdin): File format not recognized
tar: Child returned status 1
tar: Error is not recoverable: exiting now
"""


@pytest.mark.parametrize(
    ("log", "line"),
    [
        (
            COMPILER,
            "net/sched/sch_lab_link.c:57:9: error: 'rate' undeclared (first use in this function)",
        ),
        (
            NO_HEADER,
            "scripts/basic/fixdep.c:91:10: fatal error: sys/types.h: No such file or directory",
        ),
        (LINKER, "protocol.c:(.init.text+0x1f): undefined reference to `lab_missing'"),
        (NO_PROGRAM, "/bin/sh: 1: flex: not found"),
        (
            PATH_WITH_SPACE,
            "Makefile:228: *** source directory cannot contain spaces or colons.  Stop.",
        ),
        (NOT_A_TARBALL, "xz: (stdin): File format not recognized"),
        ("  CC  a.o\nsomething odd\n\n", "something odd"),
        ("", "it said nothing"),
    ],
    ids=["compiler", "header", "linker", "program", "make", "tar", "odd", "empty"],
)
def test_cause_is_found(log, line):
    """The first line that explains the failure is quoted, not make's account of it."""
    assert first_error(log) == line


def test_full_disk_is_recognized():
    """A compiler's assembler and tar say the same when a disk is full."""
    assert is_disk_full("fatal error: error writing to /x/cc.s: No space left on device\n")
    assert not is_disk_full(COMPILER)


def test_fraction_counts_compiled_files():
    """The fraction grows with every compiled file and never claims the end."""
    assert fraction_done(b"", 390) == 0
    log = b"  HOSTCC  scripts/x\n  AR      net/built-in.a\n" + b"  CC      a.o\n" * 195
    assert fraction_done(log, 390) == 0.5
    assert fraction_done(b"  CC      a.o\n" * 5000, 390) == 0.99
