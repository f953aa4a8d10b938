# SPDX-License-Identifier: Apache-2.0
"""Record the netlink requests of iproute2: sudo unshare -n python3 record.py > KERNEL-TOOL.json

Each of COMMANDS runs under strace; what it sends last is kept, as hexadecimal text. Whether the
kernel carries it out does not matter.
"""

import json
import re
import subprocess
import sys
import tempfile

COMMANDS = {
    "new_ifb": "ip link add q12 index 1012 up type ifb",
    "new_veth": "ip link add wlan0 index 12 address 02:00:00:00:00:01 gso_max_segs 1 arp off "
    "type veth peer name ap-laptop index 13 address 02:00:00:00:00:01 gso_max_segs 1 arp off "
    "netns far",
    "link_up": "ip link set dev lo up",
    "link_down": "ip link set dev lo down",
    "new_address": "ip addr add 10.0.1.2/24 dev wlan0",
    "delete_address": "ip addr del 10.0.1.2/24 dev wlan0",
    "default_route": "ip route add default via 10.0.1.1 dev wlan0 src 10.0.1.2 table 101 "
    "proto static",
    "metric_route": "ip route add default via 10.0.1.1 dev wlan0 src 10.0.1.2 metric 200 "
    "proto static",
    "network_route": "ip route add 10.0.3.0/24 via 10.0.1.1 dev wlan0 proto static",
    "link_route": "ip route add 10.0.9.0/24 dev wlan0 proto static",
    "new_rule_from": "ip rule add from 10.0.1.2 table 101 priority 100",
    "new_ingress": "tc qdisc add dev wlan0 ingress",
    "redirect_ingress": "tc filter add dev wlan0 parent ffff: prio 1 matchall "
    "action mirred egress redirect dev q12",
    "dump_qdiscs": "tc qdisc show",
    "set_limits": "ip mptcp limits set subflows 8 add_addr_accepted 4",
    "add_endpoint": "ip mptcp endpoint add 10.0.1.2 id 1 subflow backup dev wlan0",
    "dump_tcp": "ss --ipv4 --tcp --all --numeric --info --memory",
    "dump_mptcp": "ss --ipv4 --mptcp --all --numeric --info --memory",
}


def sent(command):
    """Return the last netlink message that a command sends."""
    with tempfile.NamedTemporaryFile("r") as log:
        trace = ["strace", "-e", "trace=sendmsg,sendto", "-e", "write=all", "-o", log.name]
        subprocess.run([*trace, *command.split()], stdout=subprocess.DEVNULL)
        text = log.read()
    block = re.split(r"^send\w+\(.*\n", text, flags=re.MULTILINE)[-1]
    rows = re.findall(r"^ \| [0-9a-f]{5}  (.{49})", block, flags=re.MULTILINE)
    return "".join(rows).replace(" ", "")


def main():
    subprocess.run(["ip", "netns", "add", "far"], check=True)
    try:
        found = {name: {"command": line, "hex": sent(line)} for name, line in COMMANDS.items()}
    finally:
        subprocess.run(["ip", "netns", "delete", "far"], check=True)
    json.dump(found, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
