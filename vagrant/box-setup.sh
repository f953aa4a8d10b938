#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Before packages are installed into a box: box-setup.sh ROOT, called by mmdebstrap.
set -eu
root=$1

# An initramfs with the few drivers that the providers' disks need, instead of all there are.
mkdir -p "$root/etc/initramfs-tools/conf.d" "$root/etc/initramfs-tools/hooks"
printf 'MODULES=list\nCOMPRESS=zstd\nFSTYPE=ext4\n' >"$root/etc/initramfs-tools/conf.d/box"
cat >"$root/etc/initramfs-tools/hooks/box" <<'HOOK'
#!/bin/sh
[ "$1" != prereqs ] || exit 0
. /usr/share/initramfs-tools/hook-functions
manual_add_modules virtio_pci virtio_blk virtio_net virtio_scsi sd_mod ahci e1000 ata_piix ext4 crc32c
HOOK
chmod 755 "$root/etc/initramfs-tools/hooks/box"
