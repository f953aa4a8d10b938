#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Makes a Debian 13 machine one that carries out runs: provision.sh [--installed]
# Vagrant calls it on a box from elsewhere; building our own box calls it inside the box, where
# the packages have been installed already.
set -eu
here=$(dirname "$0")
export DEBIAN_FRONTEND=noninteractive

if [ "${1:-}" != --installed ]; then
	apt-get update --quiet=2
	sed 's/#.*//' "$here/packages.txt" |
		xargs apt-get install --quiet=2 --yes --no-install-recommends
fi

echo 'net.mptcp.enabled=1' >/etc/sysctl.d/90-mptcp-testbed.conf
# Runs start their own, in their own namespaces; these would only stand before sshd in the boot.
for service in squid hostapd wpa_supplicant openvswitch-switch ovs-record-hostname; do
	systemctl disable "$service" 2>/dev/null || true
done

# Coupled congestion control; the backend loads it when a run asks for it.
for source in "$here"/bpf/*.bpf.c "$here"/*.bpf.c; do
	[ -e "$source" ] || continue
	mkdir -p /usr/local/lib/mptcp-testbed
	name=$(basename "$source" .c)
	clang -O2 -g -target bpf -I"/usr/include/$(uname -m)-linux-gnu" \
		-c "$source" -o "/usr/local/lib/mptcp-testbed/$name.o"
	llvm-strip -g "/usr/local/lib/mptcp-testbed/$name.o"
done
