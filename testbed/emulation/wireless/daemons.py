# SPDX-License-Identifier: Apache-2.0
"""hostapd and wpa_supplicant: what they are told, and their processes."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from testbed.emulation.namespace import Namespace
from testbed.process import Background

TOOLS = ("hostapd", "wpa_supplicant")
RUN_DIR = Path("/run/wifi")
READY_TIMEOUT_S = 30.0
FIRST_5_GHZ_MHZ = 5000

# Beacons every 102.4 ms, the usual.
BEACON_INTERVAL_TU = 100


def hostapd_text(interface: str, ap: dict[str, Any], passphrase: str | None = None) -> str:
    """Return the configuration of an access point.

    Without 802.11n: what a station's MCS and aggregation give is in the rate of the air, and
    the simulated radios would only pretend to have them.
    """
    mode = "g" if ap["frequency_mhz"] < FIRST_5_GHZ_MHZ else "a"
    lines = [
        f"interface={interface}",
        "driver=nl80211",
        f"ssid={ap['ssid']}",
        f"hw_mode={mode}",
        f"channel={ap['channel']}",
        f"beacon_int={BEACON_INTERVAL_TU}",
        "dtim_period=1",
        "auth_algs=1",
        "ieee80211n=0",
        "wmm_enabled=0",
        # A station that has walked off is told so by its own stack, and later by the timeout.
        "disassoc_low_ack=0",
        "logger_stdout=-1",
        "logger_stdout_level=1",
    ]
    if passphrase is not None:
        lines += ["wpa=2", "wpa_key_mgmt=WPA-PSK", "rsn_pairwise=CCMP"]
        lines.append(f"wpa_passphrase={passphrase}")
    return "\n".join(lines) + "\n"


def supplicant_text(aps: Iterable[dict[str, Any]], passphrase: str | None = None) -> str:
    """Return the configuration of a NIC: one network per access point, none enabled."""
    aps = list(aps)
    frequencies = " ".join(str(mhz) for mhz in sorted({ap["frequency_mhz"] for ap in aps}))
    lines = [f"ctrl_interface={RUN_DIR / 'wpa'}", "ap_scan=1", "p2p_disabled=1"]
    lines += [f"freq_list={frequencies}", ""]
    for ap in aps:
        security = "key_mgmt=NONE" if passphrase is None else f'psk="{passphrase}"'
        lines += [
            "network={",
            f'\tssid="{ap["ssid"]}"',
            f'\tid_str="{ap["name"]}"',
            f"\t{security}",
            f"\tscan_freq={frequencies}",
            "\tdisabled=1",
            "}",
        ]
    return "\n".join(lines) + "\n"


def start_hostapd(namespace: Namespace, name: str, config: str, raw: Path) -> Background:
    """Start an access point; use `wait_until_enabled` before relying on it.

    Its configuration and its log are raw/<name>.hostapd.conf and raw/<name>.hostapd.txt.
    """
    path = raw / f"{name}.hostapd.conf"
    path.write_text(config)
    return Background(
        ["hostapd", "-t", str(path)],
        stdout_path=raw / f"{name}.hostapd.txt",
        stderr_path=raw / f"{name}.hostapd.err",
        prepare=namespace.enter,
    )


def wait_until_enabled(hostapd: Background) -> None:
    """Return when hostapd says that its access point is enabled."""
    hostapd.wait_until(
        lambda: "AP-ENABLED" in hostapd.stdout_path.read_text(errors="replace"),
        timeout_s=READY_TIMEOUT_S,
    )


def start_supplicant(
    namespace: Namespace, name: str, interfaces: Iterable[str], config: str, raw: Path
) -> Background:
    """Start the wpa_supplicant of a NIC, for all of its interfaces.

    Its configuration and its log are raw/<name>.wpa_supplicant.conf and .txt.
    """
    path = raw / f"{name}.wpa_supplicant.conf"
    path.write_text(config)
    (RUN_DIR / "wpa").mkdir(parents=True, exist_ok=True)
    argv = ["wpa_supplicant", "-t"]
    for place, interface in enumerate(interfaces):
        argv += (["-N"] if place else []) + ["-Dnl80211", "-i", interface, "-c", str(path)]
    return Background(
        argv,
        stdout_path=raw / f"{name}.wpa_supplicant.txt",
        stderr_path=raw / f"{name}.wpa_supplicant.err",
        prepare=namespace.enter,
    )


def control_path(interface: str) -> Path:
    """Return where wpa_supplicant listens for an interface."""
    return RUN_DIR / "wpa" / interface
