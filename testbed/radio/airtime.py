# SPDX-License-Identifier: Apache-2.0
"""Who gets how much of a channel: stations that share it, and channels that disturb each other."""

from collections.abc import Sequence

from testbed.radio.propagation import frequency_mhz

# Two radios a few centimetres apart, what both get together over what one gets alone. Measured
# by Barlow (UCL MSc project, 2013): both on channel 1 about 0.6, channels 1 and 11 about 1.5,
# 2.4 and 5 GHz about 2.
SAME_CHANNEL, NEXT_FREE_CHANNEL, OTHER_BAND = 0.6, 1.5, 2.0
FREE_MHZ = 25  # apart: channels of 2.4 GHz that do not overlap
FAR_MHZ = 100  # apart: the front end of a radio keeps the other out
BAND_GAP_MHZ = 1000


def shared_rates(rates_bps: Sequence[float]) -> list[float]:
    """Return what each of several saturated stations of one channel gets.

    DCF gives each the same number of packets, not the same time, so that the slowest slows all
    (Heusse et al., "Performance anomaly of 802.11b", INFOCOM 2003).
    """
    if not rates_bps or min(rates_bps) <= 0:
        return [0.0 for _ in rates_bps]
    each = 1 / sum(1 / rate for rate in rates_bps)
    return [each for _ in rates_bps]


def pair_total(channel: int, other: int) -> float:
    """Return what two radios of one device get together, in units of one alone.

    Between the channels that were measured it is a straight line: an assumption.
    """
    apart_mhz = abs(frequency_mhz(channel) - frequency_mhz(other))
    if apart_mhz >= BAND_GAP_MHZ or apart_mhz >= FAR_MHZ:
        return OTHER_BAND
    if apart_mhz >= FREE_MHZ:
        return NEXT_FREE_CHANNEL
    return SAME_CHANNEL + (NEXT_FREE_CHANNEL - SAME_CHANNEL) * apart_mhz / FREE_MHZ


def radio_share(channel: int, others: Sequence[int]) -> float:
    """Return what is left of a radio's rate beside other radios of the same device.

    Each pair shares its total evenly; of several others, each takes its part.
    """
    share = 1.0
    for other in others:
        share *= pair_total(channel, other) / 2
    return share
