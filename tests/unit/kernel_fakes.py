# SPDX-License-Identifier: Apache-2.0
"""A source tree that make turns into a "kernel" at once, and a checkout that fits it."""

from pathlib import Path

MAKEFILE = """\
VERSION = {version}
PATCHLEVEL = {patchlevel}
SUBLEVEL = 4
EXTRAVERSION =

mrproper:
\t@rm -f .config
allnoconfig:
\t@grep -v DROPPED $(KCONFIG_ALLCONFIG) > .config
linux bzImage:
\t@echo "  CC      init/main.o"
\t@{recipe}
\t@mkdir -p arch/x86/boot && cp linux arch/x86/boot/bzImage
\t@echo LOCALVERSION=$(LOCALVERSION) >> arch/x86/boot/bzImage
\t@touch System.map modules.builtin.modinfo
\t@echo kernel/net/a.ko > modules.builtin
"""
RECIPE = "cat lab.c lab.h > linux; chmod +x linux; env | grep -E 'KBUILD|MAKEFLAGS' | sort >> linux"

PATCH = """\
--- a/lab.c
+++ b/lab.c
@@ -1 +1 @@
-original
+patched
"""


def make_tree(
    folder: Path, *, recipe: str = RECIPE, version: tuple[int, int] = (7, 3), line: str = "original"
) -> Path:
    """Make a source tree whose kernel is built by one shell command."""
    (folder / "arch/um").mkdir(parents=True)
    (folder / "arch/um/Makefile").touch()
    makefile = MAKEFILE.format(version=version[0], patchlevel=version[1], recipe=recipe)
    (folder / "Makefile").write_text(makefile)
    (folder / "lab.c").write_text(f"{line}\n")
    return folder


def make_checkout(folder: Path, *, wanted: str = "CONFIG_NET=y\n") -> Path:
    """Make a project root whose kernel/ fits the tree."""
    kernel = folder / "kernel"
    for name in ("config", "patches", "modules"):
        (kernel / name).mkdir(parents=True)
    (kernel / "config/base.config").write_text(wanted)
    (kernel / "config/vm").mkdir()
    (kernel / "config/vm/machine.config").write_text("CONFIG_PCI=y\n")
    (kernel / "patches/0001-change.patch").write_text(PATCH)
    (kernel / "modules/lab.h").write_text("module\n")
    return folder
