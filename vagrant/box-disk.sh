#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# A folder becomes a disk that boots, without a loop device: box-disk.sh ROOT DISK SIZE_MIB
set -eu
root=$1 disk=$2 size_mib=$3
size_sectors=$(((size_mib - 1) * 2048))

little_endian() {
	printf "\\$(printf %o $(($1 & 255)))\\$(printf %o $((($1 >> 8) & 255)))"
	printf "\\$(printf %o $((($1 >> 16) & 255)))\\$(printf %o $((($1 >> 24) & 255)))"
}

# Grub 2.12 cannot read a file system whose checksum seed is stored apart from its UUID.
rm -f "$disk"
truncate -s "${size_mib}M" "$disk"
mke2fs -q -t ext4 -O '^metadata_csum_seed' -m 0 -L mptcp-testbed \
	-E offset=1048576,lazy_itable_init=1 -d "$root" "$disk" "$((size_sectors / 2))k"

# The loader's first sector looks for the rest in the second; both lie before the partition.
put() { dd of="$disk" conv=notrunc status=none bs=1 seek="$1"; }
head -c 446 "$root/boot/grub/boot.img" | put 0
dd if="$root/boot/grub/core.img" of="$disk" conv=notrunc status=none bs=512 seek=1
{
	printf '\200\376\377\377\203\376\377\377' # active, Linux, addressed by sector
	little_endian 2048
	little_endian "$size_sectors"
} | put 446
printf '\125\252' | put 510
