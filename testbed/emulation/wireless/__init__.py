# SPDX-License-Identifier: Apache-2.0
"""The real 802.11 stack over simulated radios: level `mac80211` of the wifi experiment.

Each access point and each NIC of the station is a radio of mac80211_hwsim in the network namespace
of its node; hostapd and wpa_supplicant run on them. docs/wifi-mac80211.md describes what is real.
"""
