#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# After packages have been installed into a box: box-customize.sh ROOT HERE KEYS
#   HERE  this folder
#   KEYS  has user.pub, the key that may log in, and host and host.pub, the machine's own
set -eu
root=$1 here=$2 keys=$3

chroot "$root" useradd --create-home --shell /bin/bash --uid 1000 vagrant
echo 'vagrant ALL=(ALL) NOPASSWD: ALL' >"$root/etc/sudoers.d/vagrant"
chmod 440 "$root/etc/sudoers.d/vagrant"
install -d -m 700 "$root/home/vagrant/.ssh"
install -m 600 "$keys/user.pub" "$root/home/vagrant/.ssh/authorized_keys"
chroot "$root" chown -R vagrant:vagrant /home/vagrant/.ssh
install -m 600 "$keys/host" "$root/etc/ssh/ssh_host_ed25519_key"
install -m 644 "$keys/host.pub" "$root/etc/ssh/ssh_host_ed25519_key.pub"
rm -f "$root"/etc/ssh/ssh_host_rsa_key* "$root"/etc/ssh/ssh_host_ecdsa_key*
cat >"$root/etc/ssh/sshd_config.d/box.conf" <<'CONF'
HostKey /etc/ssh/ssh_host_ed25519_key
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin no
UseDNS no
GSSAPIAuthentication no
CONF

echo mptcp-testbed >"$root/etc/hostname"
printf '127.0.0.1 localhost\n127.0.1.1 mptcp-testbed\n' >"$root/etc/hosts"
echo 'LABEL=mptcp-testbed / ext4 defaults,noatime,noinit_itable 0 1' >"$root/etc/fstab"
cat >"$root/etc/systemd/network/10-eth0.network" <<'CONF'
[Match]
Name=eth0
[Network]
DHCP=ipv4
LinkLocalAddressing=no
IPv6AcceptRA=no
[DHCPv4]
ClientIdentifier=mac
CONF

mkdir -p "$root/usr/local/lib/mptcp-testbed"
cp "$here"/bpf/*.bpf.c "$root/usr/local/lib/mptcp-testbed/"
cp "$here/provision.sh" "$here/packages.txt" "$root/usr/local/lib/mptcp-testbed/"
chroot "$root" sh /usr/local/lib/mptcp-testbed/provision.sh --installed

# A boot loader without a loop device: box-disk.sh writes these two in front of the partition.
# All that grub needs is inside core.img; so nothing else of it lies in /boot.
mkdir -p "$root/boot/grub"
chroot "$root" grub-mkimage --format=i386-pc --prefix='(hd0,msdos1)/boot/grub' \
	--output=/boot/grub/core.img biosdisk part_msdos ext2 normal linux
cp "$root/usr/lib/grub/i386-pc/boot.img" "$root/boot/grub/boot.img"
kernel=$(basename "$(ls "$root"/boot/vmlinuz-* | sort -V | tail -1)")
# On an emulated processor the kernel would distrust its clock, the cycle counter, and take one that
# costs microseconds per reading; KVM's own clock goes before it in any case.
arguments='root=LABEL=mptcp-testbed rw console=tty0 console=ttyS0 net.ifnames=0 quiet'
arguments="$arguments tsc=reliable mitigations=off audit=0 nokaslr fsck.mode=skip"
cat >"$root/boot/grub/grub.cfg" <<CONF
linux /boot/$kernel $arguments
initrd /boot/initrd.img-${kernel#vmlinuz-}
boot
CONF

# What the first boot would otherwise do, on an emulated processor for minutes.
chroot "$root" systemd-machine-id-setup
ln -sf /etc/machine-id "$root/var/lib/dbus/machine-id"
chroot "$root" ldconfig
chroot "$root" journalctl --update-catalog
chroot "$root" systemd-hwdb update
chroot "$root" systemctl enable systemd-networkd ssh
chroot "$root" systemctl disable systemd-networkd-wait-online
mkdir -p "$root/etc/systemd/system-generators"
ln -sf /dev/null "$root/etc/systemd/system-generators/systemd-ssh-generator"
chroot "$root" systemctl mask systemd-timesyncd.service getty@tty1.service \
	systemd-random-seed.service systemd-pstore.service apt-daily.timer apt-daily-upgrade.timer \
	e2scrub_all.timer e2scrub_reap.service fstrim.timer man-db.timer dpkg-db-backup.timer \
	logrotate.timer grub-common.service modprobe@drm.service systemd-binfmt.service
touch -r "$root/usr" "$root/etc/.updated" "$root/var/.updated"
rm -rf "$root"/usr/share/doc/* "$root"/usr/share/man/* "$root"/usr/share/locale/*
