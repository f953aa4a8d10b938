# SPDX-License-Identifier: Apache-2.0
"""802.11 at 20 MHz: from the signal to the rate of IP packets and the loss that retries leave."""

import math
from dataclasses import dataclass
from typing import NamedTuple

# Thermal noise in 20 MHz is -101 dBm; with the noise figure of 10 dB that the standard's
# sensitivities assume (IEEE 802.11-2012, 18.3.10.2).
NOISE_DBM = -91.0

# The sensitivities are for 10 % of frames lost. Waterfalls of OFDM in noise fall by about a decade
# per dB (Pei and Henderson, "Validation of OFDM error rate model in ns-3", 2010, figures 2 to 4).
LOSS_AT_SENSITIVITY, DECADES_PER_DB = 0.1, 1.0

RETRIES = 4  # dot11ShortRetryLimit is 7 by the standard; hardware also falls back in rate
EDGE_LOSS = 0.01  # who loses more than this after all retries is out of range

IP_BYTES, MAC_BYTES = 1500, 36  # header, LLC/SNAP and FCS
US = 1e-6
# IEEE 802.11-2012, 18.3 and 19.4 (ERP-OFDM) and 20.3 (HT): us.
SLOT_US, SIFS_US, CW_MIN = 9.0, 10.0, 15
DIFS_US = SIFS_US + 2 * SLOT_US
SERVICE_AND_TAIL_BITS, SYMBOL_US, EXTENSION_US = 22, 4.0, 6.0
PREAMBLE_US = {"g": 20.0, "n": 36.0}
ACK_BITS, BLOCK_ACK_BITS = 14 * 8, 32 * 8
# Frames of an A-MPDU, with a delimiter and padding of 6 bytes each; 802.11g has none.
AGGREGATED = {"g": 1, "n": 16}
DELIMITER_BYTES = {"g": 0, "n": 6}


class Scheme(NamedTuple):
    """A modulation and coding scheme, and the signal at which a tenth of the frames is lost."""

    rate_mbps: float
    bits_per_symbol: int
    sensitivity_dbm: float


# IEEE 802.11-2012, tables 18-4 and 18-14; 20-30 and 20-23 (one stream, 800 ns guard interval).
SCHEMES = {
    "g": (
        Scheme(6, 24, -82),
        Scheme(9, 36, -81),
        Scheme(12, 48, -79),
        Scheme(18, 72, -77),
        Scheme(24, 96, -74),
        Scheme(36, 144, -70),
        Scheme(48, 192, -66),
        Scheme(54, 216, -65),
    ),
    "n": (
        Scheme(6.5, 26, -82),
        Scheme(13, 52, -79),
        Scheme(19.5, 78, -77),
        Scheme(26, 104, -74),
        Scheme(39, 156, -70),
        Scheme(52, 208, -66),
        Scheme(58.5, 234, -65),
        Scheme(65, 260, -64),
    ),
}
BASIC_RATES = (24, 48, 96)  # bits per symbol, at which acknowledgements are sent


@dataclass(frozen=True)
class Quality:
    """What a link is like for one who has the channel for himself.

    Attributes:
        scheme: number of the modulation and coding scheme; -1 out of range.
        rate_bps: of IP packets of 1500 bytes; 0 out of range.
        loss_fraction: of those packets, after all retries.
    """

    scheme: int
    rate_bps: int
    loss_fraction: float


OUT_OF_RANGE = Quality(-1, 0, 0.0)


def snr_db(signal_dbm: float) -> float:
    """Return signal over noise."""
    return signal_dbm - NOISE_DBM


def frame_loss(snr: float, scheme: Scheme) -> float:
    """Return the share of frames that one try loses."""
    above_db = snr - snr_db(scheme.sensitivity_dbm)
    return min(1.0, LOSS_AT_SENSITIVITY * 10 ** (-DECADES_PER_DB * above_db))


def air_time_us(phy: str, scheme: Scheme) -> float:
    """Return how long an IP packet takes on the air with all that goes with it."""
    count, preamble_us = AGGREGATED[phy], PREAMBLE_US[phy]
    extension_us = EXTENSION_US
    bits = SERVICE_AND_TAIL_BITS + 8 * count * (IP_BYTES + MAC_BYTES + DELIMITER_BYTES[phy])
    data_us = SYMBOL_US * math.ceil(bits / scheme.bits_per_symbol)
    answer_bits = SERVICE_AND_TAIL_BITS + (ACK_BITS if count == 1 else BLOCK_ACK_BITS)
    basic = max(n for n in BASIC_RATES if n <= max(scheme.bits_per_symbol, BASIC_RATES[0]))
    answer_us = PREAMBLE_US["g"] + SYMBOL_US * math.ceil(answer_bits / basic) + extension_us
    access_us = DIFS_US + SLOT_US * CW_MIN / 2
    whole_us = access_us + preamble_us + data_us + extension_us + SIFS_US + answer_us
    return whole_us / count


def goodput_bps(phy: str, scheme: Scheme, snr: float) -> float:
    """Return the rate of IP packets, retries counted."""
    delivered = 1 - frame_loss(snr, scheme)
    return IP_BYTES * 8 * delivered / (air_time_us(phy, scheme) * US)


def quality(phy: str, signal_dbm: float) -> Quality:
    """Return what a link of this signal carries: by the scheme that carries most.

    A rate adaptation takes some time to find it and is a little below; this one knows.
    """
    snr = snr_db(signal_dbm)
    found = [
        (goodput_bps(phy, scheme, snr), number)
        for number, scheme in enumerate(SCHEMES[phy])
        if frame_loss(snr, scheme) ** (RETRIES + 1) <= EDGE_LOSS
    ]
    if not found:
        return OUT_OF_RANGE
    rate_bps, number = max(found)
    loss = frame_loss(snr, SCHEMES[phy][number]) ** (RETRIES + 1)
    # Steps of a tenth of a percent: a link does not change with every centimetre.
    coarse = float(f"{rate_bps:.2g}") if rate_bps < 1e7 else round(rate_bps, -6)
    return Quality(number, int(coarse), round(loss, 4))


def edge_dbm(phy: str) -> float:
    """Return the least signal that is in range."""
    tried = EDGE_LOSS ** (1 / (RETRIES + 1))
    below_db = math.log10(tried / LOSS_AT_SENSITIVITY) / DECADES_PER_DB
    return SCHEMES[phy][0].sensitivity_dbm - below_db
