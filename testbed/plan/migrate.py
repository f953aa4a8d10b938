# SPDX-License-Identifier: Apache-2.0
"""The migration of a virtual machine as plain data, and what each variant makes of it."""

from dataclasses import asdict
from typing import Any

from testbed.errors import PlanError
from testbed.plan.modes import Use
from testbed.plan.scenes import check_network, chosen, is_up, node_addresses
from testbed.precopy import GO_ON, Precopy
from testbed.spec.model import ExperimentSpec
from testbed.spec.path_manager import ScriptStep
from testbed.spec.workloads import MigrateSpec

MACHINE, HERE, THERE, WAN = "vm", "a", "b", "wan"
NODES = (MACHINE, "host_a", "host_b", "proxy", "client", "uploader", "dc_a", "dc_b")
MEMORY_PORT, DOWNLOAD_PORT, UPLOAD_PORT = 6000, 7001, 7002

MAKE_BEFORE_BREAK, BREAK_BEFORE_MAKE = "mptcp-make-before-break", "mptcp-break-before-make"
RENUMBERED, L2_TUNNEL, PROXY = "tcp-renumbered", "tcp-l2-tunnel", "tcp-proxy"
VARIANTS = (MAKE_BEFORE_BREAK, BREAK_BEFORE_MAKE, RENUMBERED, L2_TUNNEL, PROXY)
TUNNELLED = (MAKE_BEFORE_BREAK, L2_TUNNEL)

# REMOVE_ADDR tells the peer, which would else keep the old subflow and what it has sent over it.
# While there is a tunnel, what is on its way over the old subflow arrives before that is closed.
DRAIN = "200 ms"

# The kernel's own path manager tells nobody when a subflow carries data.
KERNEL_TUNNEL_S = 1.0


def _script(*, is_tunnelled: bool) -> list[dict[str, Any]]:
    joined = {"when": "established", "of": THERE, "path": HERE}
    after = {"after": DRAIN} if is_tunnelled else {}
    return [
        {"when": "resumed", "do": "add_subflow", "path": THERE},
        *([{**joined, "do": "set_backup"}] if is_tunnelled else []),
        {**joined, **after, "do": "remove"},
        {**joined, **after, "do": "close"},
    ]


def variant_of(spec: ExperimentSpec) -> str:
    """Return the variant of a migration, which an experiment names as its mode.

    Raises:
        PlanError: there is none of that name.
    """
    return chosen(spec, "variant", VARIANTS, MAKE_BEFORE_BREAK)


def migration_use(spec: ExperimentSpec, topology: dict[str, Any]) -> Use:
    """Return how the machine uses its paths: the first one, and another one once it has moved.

    Raises:
        PlanError: there is no such variant, or the network has not what a migration needs.
    """
    _addresses(spec, topology)
    # What the kernel's own path manager would go by.
    flags = {path: ["subflow"] for path in (HERE, THERE)}
    return Use(_transport(variant_of(spec)), flags=flags, at_start=[HERE])


def _transport(variant: str) -> str:
    return variant.partition("-")[0]


def default_script(variant: str) -> list[ScriptStep]:
    """Return what the path manager does unless the experiment says otherwise."""
    steps = _script(is_tunnelled=variant in TUNNELLED)
    return [ScriptStep.model_validate(step) for step in steps]


def plan_migration(spec: ExperimentSpec, topology: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return "workload" of run.json.

    Raises:
        PlanError: the network has not what a migration needs, or it cannot end in time.
    """
    workload = spec.workload
    assert isinstance(workload, MigrateSpec)
    variant, addresses = variant_of(spec), _addresses(spec, topology)
    precopy = Precopy(
        workload.memory,
        workload.dirty_rate / 8,
        workload.bandwidth / 8,
        workload.algorithm,
        workload.downtime_limit,
        workload.max_rounds,
    )
    links = {link["name"]: link for link in topology["links"]}
    _check(spec, precopy, links[WAN])
    copy = {"precopy": asdict(precopy), "on_limit": workload.on_limit, "port": MEMORY_PORT}
    paths = {path["name"]: path for path in topology["paths"]}
    if variant in TUNNELLED:
        paths[THERE]["tunnelled"] = [paths[HERE]["address"]]
    return {
        "variant": variant,
        "machine": MACHINE,
        "at_s": workload.at,
        "tail_s": workload.tail,
        "tunnel_s": KERNEL_TUNNEL_S,
        "must_survive": variant != RENUMBERED,
        **copy,
        "hosts": [
            {"node": "host_a", "address": addresses["host_b"], **copy},
            {"node": "host_b", "port": MEMORY_PORT},
        ],
        "flows": [_flow(spec, number, paths, addresses, seed) for number in (0, 1)],
        "proxy": _proxy(addresses) if variant == PROXY else None,
        "told_of_move": ["download.machine", "upload.machine"] if variant == PROXY else [],
        "tunnel": _tunnel(paths, links) if variant in TUNNELLED else None,
        "new_address": None if variant == L2_TUNNEL else paths[THERE]["address"],
        "rate_bps": links[THERE]["a_to_b"]["rate_bps"],
    }


def _addresses(spec: ExperimentSpec, topology: dict[str, Any]) -> dict[str, str]:
    """Return the address of each node on its first link."""
    found = node_addresses(topology)
    missing = [name for name in NODES if name not in found]
    names = [path["name"] for path in topology["paths"]]
    what = f'a node "{missing[0]}"' if missing else None
    if not missing and names[:2] != [HERE, THERE]:
        what = f'the paths "{HERE}" and "{THERE}"'
    check_network(spec, what, "wide_area")
    return found


def _check(spec: ExperimentSpec, precopy: Precopy, wan: dict[str, Any]) -> None:
    """Refuse a migration that cannot begin, never ends, or does not end in time."""
    workload = spec.workload
    assert isinstance(workload, MigrateSpec)
    if wan["a_to_b"]["rate_bps"] is not None and workload.bandwidth > wan["a_to_b"]["rate_bps"]:
        raise PlanError(
            f"workload.bandwidth: {workload.bandwidth / 1e6:g} Mbit/s is more than the link "
            f"{WAN} has; lower it or give links.{WAN}.rate"
        )
    if not is_up(spec, WAN, workload.at):
        raise PlanError(
            f"workload.at: the link {WAN} is down at {workload.at:g} s, so that the machine "
            "cannot be moved; move it when the link is up"
        )
    predicted = precopy.predict(2 * wan["a_to_b"]["one_way_delay_s"])
    if predicted.end == GO_ON:
        raise PlanError(
            f"workload: with {workload.dirty_rate / 1e6:g} Mbit/s written and "
            f"{workload.bandwidth / 1e6:g} Mbit/s sent the rounds never converge to what fits into "
            f"downtime_limit, {workload.downtime_limit:g} s; give max_rounds"
        )
    needed_s = workload.at + predicted.total_s + workload.tail
    if needed_s >= spec.duration:
        raise PlanError(
            f"duration: the migration and what comes after it take {needed_s:.1f} s by the model, "
            f"but the run ends at {spec.duration:g} s"
        )


def _flow(
    spec: ExperimentSpec,
    number: int,
    paths: dict[str, dict[str, Any]],
    addresses: dict[str, str],
    seed: int,
) -> dict[str, Any]:
    """Return a transfer: the machine connects, so that it is who adds subflows."""
    is_download = number == 0
    node = "client" if is_download else "uploader"
    is_proxied = variant_of(spec) == PROXY
    port = DOWNLOAD_PORT if is_download else UPLOAD_PORT
    transport = _transport(variant_of(spec))
    shared = {"port": port, "transport": transport}
    return {
        "name": "download" if is_download else "upload",
        "seed": 2 * seed + number,
        "peer": {
            "node": node,
            **shared,
            "is_listening": True,
            "is_receiving": is_download,
            "is_session": False,
        },
        "machine": {
            "node": MACHINE,
            **shared,
            "address": addresses["proxy" if is_proxied else node],
            "source": [paths[name]["address"] for name in (HERE, THERE)] if is_proxied else [],
            "is_listening": False,
            "is_receiving": not is_download,
            "is_session": is_proxied,
        },
    }


def _proxy(addresses: dict[str, str]) -> dict[str, Any]:
    flows = [
        {"name": "download", "port": DOWNLOAD_PORT, "address": addresses["client"]},
        {"name": "upload", "port": UPLOAD_PORT, "address": addresses["uploader"]},
    ]
    return {"node": "proxy", "flows": flows}


def _tunnel(paths: dict[str, dict[str, Any]], links: dict[str, dict[str, Any]]) -> dict[str, Any]:
    wan = links[WAN]
    return {
        "home": wan["a"],
        "away": wan["b"],
        "home_end": wan["a_address"],
        "away_end": wan["b_address"],
        "address": paths[HERE]["address"],
        "interface": links[THERE]["b_interface"],
    }
