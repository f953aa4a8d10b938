# SPDX-License-Identifier: Apache-2.0
"""Read what a middlebox counted: the set `connections` of `nft -j list ruleset`."""

import json

from testbed.errors import RunInvalid


def parse_nft(data: bytes) -> dict[str, int]:
    """Return bytes per direction of a connection, "address:port > address:port".

    Raises:
        RunInvalid: it is not what nft writes.
    """
    found: dict[str, int] = {}
    try:
        for entry in json.loads(data)["nftables"]:
            for element in (entry.get("set") or {}).get("elem", []):
                source, sport, target, tport = element["elem"]["val"]["concat"]
                key = f"{source}:{sport} > {target}:{tport}"
                found[key] = int(element["elem"]["counter"]["bytes"])
    except (KeyError, TypeError, ValueError) as error:
        raise RunInvalid(f"it is no rule set with counted connections ({error})") from error
    return found
