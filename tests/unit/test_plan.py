# SPDX-License-Identifier: Apache-2.0
"""Plans: what becomes of an experiment file in run.json."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from testbed import content
from testbed.errors import PlanError, SpecError
from testbed.plan import cell_key, plan_experiment, plan_hash, plan_run
from testbed.plan.links import TRACE_MARGIN_MS, load_trace
from testbed.spec.load import parse_experiment, parse_spec
from testbed.topology import Direction, Topology
from topologies import TOPOLOGIES

VALID = (Path(__file__).parents[1] / "data" / "specs" / "valid.yaml").read_text()
# Stations from 0 s to 5 s and from 20 s on; 3G fades from 10 s to 12 s.
STOPS = {"stops": [["0 s", "5 s"], ["20 s", "60 s"]], "fades_at": [["10 s", "12 s"]]}


def overrides(**values):
    dotted = {key.replace("__", "."): value for key, value in values.items()}
    return {"workload.size": "100 KB", "links.3g.rate": "2 Mbit/s", **dotted}


def plan(folder=Path(), **values):
    spec = parse_spec(VALID, "valid.yaml", overrides(**values))
    return plan_run(spec, spec.seed, folder)


def refused(*, folder=Path(), **values):
    with pytest.raises(PlanError) as caught:
        plan(folder, **values)
    return str(caught.value)


def link(plan, name):
    return next(link for link in plan["topology"]["links"] if link["name"] == name)


def downlink_times(plan):
    return link(plan, "3g")["b_to_a"]["trace"]["opportunities_ms"]


def changes(plan, *kinds):
    return [
        (event["at_s"], event["change"]) for event in plan["events"] if event["change"] in kinds
    ]


class Office(Topology):
    """A network without a proxy, with parameters."""

    def build(self, hosts: int = 1, rate: int | None = None, wifi: Direction | None = None) -> None:
        pc, server = self.add_host("pc"), self.add_host("server")
        for number in range(hosts):
            link = self.add_link(
                f"eth{number}", pc, server, a_interface=f"e{number}", b_interface=f"s{number}"
            )
            self.add_path(f"eth{number}", pc, link, to=server)


@pytest.fixture
def office(monkeypatch):
    monkeypatch.setitem(TOPOLOGIES, "office", Office)
    return {"topology": "office", "links": {}, "ride": None, "workload": {"name": "bulk"}}


def office_plan(office, **more):
    text = VALID.splitlines()
    kept = [line for line in text if not line.startswith(("links", "  ", "ride", "workload"))]
    values = {**office, **more}
    values = {key: value for key, value in values.items() if key not in ("links", "ride") or value}
    return plan_run(parse_spec("\n".join(kept), "f", values), 1)


def test_plan_is_json_and_complete():
    made = plan()
    assert json.loads(json.dumps(made)) == json.loads(json.dumps(json.loads(json.dumps(made))))
    assert (made["schema"], made["experiment"], made["seed"]) == (2, "offload", 1)
    assert (made["duration_s"], made["mode"], made["transport"]) == (60, "mptcp-full", "mptcp")
    assert made["mptcp"] == {
        "path_manager": "kernel",
        "scheduler": "default",
        "limits": {"subflows": 8, "add_addr_accepted": 8},
        "stale_loss_count": 4,
        "congestion_control": "cubic",
    }
    assert made["collectors"] == {
        "ss": {"nodes": ["laptop", "proxy"], "interval_s": 0.1},
        "nstat": {"nodes": ["laptop", "proxy"]},
        "mptcp_events": {"nodes": ["laptop", "proxy"]},
        "links": {"interval_s": 1.0},
    }
    assert made["ride"]["stations"][:2] == [(0, 5), (20, 25)]
    assert made["coverage"] == {"wifi": made["ride"]["stations"]}


def test_no_ride_is_nothing_that_moves(office):
    made = office_plan(office)
    assert (made["ride"], made["coverage"], made["events"]) == (None, {}, [])
    assert made["expected_use"] == {"eth0": [(0, 60)]}


def test_workload_is_known_to_both_ends():
    made = plan(seed=7)
    workload = made["workload"]
    assert workload["sha256"] == content.sha256(7, 100_000)
    assert (workload["size_bytes"], workload["seed"]) == (100_000, 7)
    assert workload["proxy"]["address"] == link(made, "core-proxy")["b_address"]
    assert workload["origin"]["address"] == link(made, "proxy-origin")["b_address"]
    assert "http_port 0.0.0.0:3128" in workload["squid_conf"]


@pytest.mark.parametrize("mode", ["tcp-wifi", "tcp-3g", "tcp-handover"])
def test_modes_of_tcp_have_no_endpoints(mode):
    made = plan(mode=mode)
    assert (made["transport"], made["endpoints"]) == ("tcp", [])
    assert made["workload"]["transport"] == "tcp"
    assert made["workload"]["is_resumed"] is (mode != "tcp-3g")
    assert made["mptcp"]["congestion_control"] == "cubic"


def test_endpoints_are_those_of_the_mode_unless_the_file_says_others():
    assert plan(mode="mptcp-backup")["endpoints"] == [
        {"path": "wifi", "flags": ["subflow"]},
        {"path": "3g", "flags": ["subflow", "backup"]},
    ]
    said = {"3g": ["fullmesh", "subflow"], "wifi": []}
    assert plan(mptcp__endpoints=said)["endpoints"] == [
        {"path": "3g", "flags": ["fullmesh", "subflow"]}
    ]


def test_every_path_is_captured():
    assert [(one["interface"], one["file"]) for one in plan()["captures"]] == [
        ("wlan0", "laptop.wifi.pcap"),
        ("cell0", "laptop.3g.pcap"),
    ]


def test_captures_that_the_file_names():
    wanted = ["3g", "core:core-proxy", "laptop:wlan0"]
    found = plan(collectors__captures=wanted, collectors__snap_bytes=200)["captures"]
    assert found == [
        {"node": "laptop", "interface": "cell0", "path": "3g", "file": "laptop.3g.pcap",
         "snap_bytes": 200},
        {"node": "core", "interface": "core-proxy", "path": None,
         "file": "core.core-proxy.pcap", "snap_bytes": 200},
        {"node": "laptop", "interface": "wlan0", "path": "wifi", "file": "laptop.wifi.pcap",
         "snap_bytes": 200},
    ]  # fmt: skip
    assert plan(collectors__captures=[])["captures"] == []


def test_buffers_are_sysctls_of_every_node():
    """Also those that the kernel would else take from the machine's memory."""
    assert plan()["sysctls"] == {
        "*": {
            "net.ipv4.tcp_rmem": "4096 131072 6291456",
            "net.ipv4.tcp_wmem": "4096 16384 4194304",
        }
    }
    made = plan(tcp__receive_buffer="6 MB", tcp__send_buffer="8 KB")
    assert made["sysctls"] == {
        "*": {
            "net.ipv4.tcp_rmem": "4096 131072 6000000",
            "net.ipv4.tcp_wmem": "4096 8000 8000",
        }
    }
    made = plan(tcp__initial_receive_buffer="2 MB")
    assert made["sysctls"]["*"]["net.ipv4.tcp_rmem"] == "4096 2000000 6291456"


def test_values_of_one_direction_go_before_those_of_both():
    made = link(
        plan(
            links__wifi={
                "rate": "4 Mbit/s",
                "loss": 0.01,
                "up": {"rate": "1 Mbit/s", "queue": "1 s"},
                "down": {"one_way_delay": "30 ms", "queue": "10 packets"},
            }
        ),
        "wifi",
    )
    up, down = made["a_to_b"], made["b_to_a"]
    assert (up["rate_bps"], up["one_way_delay_s"], up["queue_bytes"]) == (1e6, 0.01, 125_000)
    assert (down["rate_bps"], down["one_way_delay_s"], down["queue_bytes"]) == (4e6, 0.03, 15_000)
    assert up["loss_fraction"] == down["loss_fraction"] == 0.01
    assert up["loss_seed"] != down["loss_seed"]


@pytest.mark.parametrize(
    ("queue", "size"), [("80 KB", 80_000), ("50 packets", 75_000), ("80 ms", 80_000)]
)
def test_queue_is_bytes_in_the_end(queue, size):
    """One in seconds is what the rate, here 8 Mbit/s, carries in that time."""
    assert link(plan(links__wifi__queue=queue), "wifi")["b_to_a"]["queue_bytes"] == size


@pytest.mark.parametrize("queue", ["4 GiB", "0 KB", "0 packets", "0 s", "24 h"])
def test_queue_that_the_kernel_does_not_take(queue):
    said = refused(links__wifi__queue=queue)
    assert said.startswith("links.wifi.queue comes to ")
    assert said.endswith(" bytes; a queue has 1 to 4294967295 bytes")


def test_other_seeds_lose_other_packets():
    def losses(seed):
        spec = parse_spec(VALID, "valid.yaml", overrides(links__wifi__loss=0.01))
        return link(plan_run(spec, seed, Path()), "wifi")["b_to_a"]["loss_seed"]

    assert losses(1) == losses(1) != losses(2)


def test_queue_as_time_without_a_rate():
    said = refused(links={"core-proxy": {"queue": "20 ms"}})
    assert said == "links.core-proxy.queue is a time, so the link needs a rate to count it with"
    made = plan(links={"core-proxy": {"rate": "1 Gbit/s", "queue": "20 ms"}})
    assert link(made, "core-proxy")["a_to_b"]["queue_bytes"] == 2_500_000


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"topology": "undergruond"}, 'topology: "undergruond" is not a topology (did you mean '),
        ({"topology": "moon"}, 'topology: "moon" is not a topology (there are '),
        (
            {"topology": {"name": "underground", "parameters": {"floors": 3}}},
            'topology.parameters.floors: "underground" has no such parameter',
        ),
        (
            {"topology": {"name": "underground", "parameters": {"wifi_up": "x"}}},
            'topology.parameters.wifi_up: "underground" has no such parameter',
        ),
        (
            {"links.wfi.rate": "1 Mbit/s"},
            '"wfi" is not a link of this network (did you mean "wifi"?)',
        ),
        ({"links": {"moon": {}}}, '"moon" is not a link of this network'),
        ({"mode": "mptcp-ful"}, 'mode: "mptcp-ful" is not a mode of this network (did you mean "'),
        (
            {"mptcp.endpoints": {"wify": ["subflow"]}},
            'mptcp.endpoints: "wify" is not a path of this network (did you mean "wifi"?)',
        ),
        (
            {"collectors.captures": ["wify"]},
            'collectors.captures: "wify" is neither a path nor a node:interface (did you mean "wi',
        ),
        (
            {"collectors.captures": ["laptop:wlan1"]},
            'collectors.captures: "laptop:wlan1" is neither a path nor a node:interface (did you ',
        ),
        (
            {"events": [{"at": "1 s", "change": "link_down", "link": "wfi"}]},
            'events.0.link: "wfi" is not a link of this network (did you mean "wifi"?)',
        ),
        (
            {"events": [{"at": "1 s", "change": "address_gone", "path": "4g"}]},
            'events.0.path: "4g" is not a path of this network',
        ),
        (
            {"events": [{"at": "1 s", "change": "address_back", "path": "3g"}]},
            "events: address_back of 3g at 1 s, but the client has an address on it then; take i",
        ),
        (
            {"events": 2 * [{"at": "1 s", "change": "address_gone", "path": "3g"}]},
            "events: address_gone of 3g at 1 s, but the client has no address on it then; take i",
        ),
        (
            {"workload": {"name": "bulk", "flows": 3, "stagger": "30 s"}, "mode": "mptcp-full"},
            "workload: flow 2 starts at 60 s, but the run ends at 60 s",
        ),
    ],
)
def test_what_the_network_does_not_have(values, said):
    values = {key.replace(".", "__"): value for key, value in values.items()}
    if "workload" in values:
        spec = parse_spec(VALID, "f", {key.replace("__", "."): v for key, v in values.items()})
        with pytest.raises(PlanError) as caught:
            plan_run(spec, 1)
        assert str(caught.value).startswith(said)
    else:
        assert refused(**values).startswith(said)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"hots": 3}, 'topology.parameters.hots: "office" has no such parameter (did you mean "'),
        ({"hosts": "3"}, "topology.parameters.hosts: '3' is not of the type int"),
        ({"hosts": True}, "topology.parameters.hosts: True is not of the type int"),
        ({"rate": 1.5}, "topology.parameters.rate: 1.5 is not of the type int or NoneType"),
    ],
)
def test_parameters_of_a_topology(office, parameters, said):
    with pytest.raises(PlanError) as caught:
        office_plan(office, topology={"name": "office", "parameters": parameters})
    assert str(caught.value).startswith(said)


def test_topology_is_built_with_its_parameters(office):
    made = office_plan(office, topology={"name": "office", "parameters": {"hosts": 3}})
    assert [path["name"] for path in made["topology"]["paths"]] == ["eth0", "eth1", "eth2"]


def test_download_needs_a_proxy_and_an_origin(office):
    with pytest.raises(PlanError) as caught:
        office_plan(office, workload={"name": "download", "size": "1 KB"})
    assert str(caught.value) == (
        'the workload "download" needs a node "proxy", which the topology "office" does not have'
    )


def test_topology_without_paths(office, monkeypatch):
    monkeypatch.setattr(Office, "build", lambda self: self.add_host("pc"))
    with pytest.raises(PlanError, match="^office names no path, so no workload can use it$"):
        office_plan(office)


@pytest.mark.parametrize("mode", ["tcp-handover", "tcp-wifi"])
@pytest.mark.parametrize("workload", ["bulk", "iperf3"])
def test_mode_that_resumes_needs_a_download(mode, workload):
    text = VALID.replace("{name: download, size: 10 MB}", f"{{name: {workload}}}")
    with pytest.raises(PlanError) as caught:
        plan_run(parse_spec(text, "f", {"mode": mode}), 1)
    assert str(caught.value) == (
        f'mode: "{mode}" asks for the rest over a new connection, which only the workload '
        '"download" can; use an mptcp mode or tcp-<path> with a path that stays'
    )


@pytest.mark.parametrize("workload", ["bulk", "iperf3"])
def test_path_that_stays_needs_no_download(workload, office):
    made = office_plan(office, mode="tcp-eth0", workload={"name": workload})
    assert made["workload"]["path"] == "eth0"


def test_flows_of_bulk(office):
    workload = {"name": "bulk", "flows": 2, "start": "1 s", "stagger": "9 s", "block": "64 B"}
    made = office_plan(office, workload=workload)["workload"]
    keys = ("id", "port", "start_s", "duration_s")
    assert [tuple(one[key] for key in keys) for one in made["flows"]] == [
        (0, 5001, 1, 59),
        (1, 5002, 10, 50),
    ]  # fmt: skip
    assert {one["address"] for one in made["flows"]} == {"10.0.1.1"}
    assert made["record_blocks"] is True


def test_size_goes_before_duration(office):
    for name in ("bulk", "iperf3"):
        made = office_plan(office, workload={"name": name, "size": "1 MB"})["workload"]
        one = made["flows"][0] if name == "bulk" else made
        assert (one["size_bytes"], one["duration_s"]) == (1_000_000, None)


EVENTS = [
    {"at": "1 s", "change": "rate", "link": "wifi", "rate": "1 Mbit/s"},
    {"at": "2 s", "change": "delay", "link": "wifi", "direction": "up", "one_way_delay": "9 ms"},
    {"at": "3 s", "change": "loss", "link": "wifi", "direction": "down", "loss": 0.5},
    {"at": "4 s", "change": "queue", "link": "wifi", "direction": "down", "queue": "10 ms"},
    {"at": "4 s", "change": "link_down", "link": "ap-core"},
    {"at": "5 s", "change": "link_up", "link": "ap-core"},
    {"at": "6 s", "change": "endpoint_remove", "path": "3g"},
    {"at": "7 s", "change": "endpoint_add", "path": "3g", "flags": ["subflow", "backup"]},
    {"at": "8 s", "change": "endpoint_backup", "path": "3g", "backup": False},
    {"at": "9 s", "change": "address_gone", "path": "3g"},
    {"at": "10 s", "change": "address_back", "path": "3g"},
]


def test_events_of_the_file_become_changes():
    stays = {"stations": 1, "dwell": "5 s", "tunnel": "15 s"}
    wifi = {"link": "wifi", "change": "link"}
    assert plan(events=EVENTS, ride=stays)["events"] == [
        {**wifi, "at_s": 1, "direction": "a_to_b", "rate_bps": 1_000_000},
        {**wifi, "at_s": 1, "direction": "b_to_a", "rate_bps": 1_000_000},
        {**wifi, "at_s": 2, "direction": "a_to_b", "one_way_delay_s": 0.009},
        {**wifi, "at_s": 3, "direction": "b_to_a", "loss_fraction": 0.5},
        {**wifi, "at_s": 4, "direction": "b_to_a", "queue_bytes": 10_000},
        {"at_s": 4, "link": "ap-core", "change": "link_down"},
        {"at_s": 5, "link": "ap-core", "change": "link_up"},
        {"at_s": 6, "change": "endpoint_remove", "path": "3g"},
        {"at_s": 7, "change": "endpoint_add", "path": "3g", "flags": ["subflow", "backup"]},
        {"at_s": 8, "change": "endpoint_backup", "path": "3g", "is_backup": False},
        {"at_s": 9, "change": "address_gone", "path": "3g"},
        {"at_s": 10, "change": "address_back", "path": "3g", "address": "10.0.2.3"},
    ]


def test_every_change_is_one_that_the_target_knows():
    from testbed.emulation.events import CHANGES

    for mode in ("tcp-handover", "mptcp-single"):
        kinds = {event["change"] for event in plan(events=EVENTS, mode=mode)["events"]}
        assert kinds <= set(CHANGES)


def test_rate_of_a_link_that_follows_a_trace():
    said = refused(
        events=[{"at": "1 s", "change": "rate", "link": "3g", "rate": "1 Mbit/s"}],
    )
    assert said == "events.0: the link 3g follows a trace, not a rate"


def test_queue_as_time_without_a_rate_in_an_event():
    event = {"at": "1 s", "change": "queue", "link": "core-proxy", "queue": "10 ms"}
    assert refused(events=[event]) == (
        "events.0.queue is a time, so the link needs a rate to count it with"
    )


def test_changes_of_one_moment_have_an_order():
    """The links first, then what goes, then what comes, and the application last."""
    made = plan(
        mode="mptcp-single",
        ride={**STOPS, "association": "0 s", "detection": "0 s", "promotion": "0 s"},
    )
    assert [(one["at_s"], one["change"], one.get("path")) for one in made["events"]] == [
        (5, "link_down", None),
        (5, "address_gone", "wifi"),
        (5, "address_back", "3g"),
        (10, "link", None),
        (12, "link", None),
        (20, "link_up", None),
        (20, "address_gone", "3g"),
        (20, "address_back", "wifi"),
    ]
    handover = plan(mode="tcp-handover", ride={**STOPS, "association": "0 s", "detection": "0 s"})
    assert [one["change"] for one in handover["events"] if one["at_s"] == 20] == [
        "link_up",
        "address_back",
        "use_path",
    ]


def test_address_is_another_one_at_every_join():
    """Else a connection would survive in a tunnel that costs a real laptop its network."""
    stops = [[f"{at} s", f"{at + 5} s"] for at in range(0, 50, 10)]
    made = plan(mode="mptcp-single", ride={"stops": stops, "promotion": "0 s"})
    for path in made["topology"]["paths"]:
        joins = [
            event["address"]
            for event in made["events"]
            if event["change"] == "address_back" and event["path"] == path["name"]
        ]
        assert len(joins) >= 4
        assert path["addresses"] == [path["address"], *joins]
        assert len({*path["addresses"]}) == len(path["addresses"])
        own = link(made, path["hops"][0][0])
        assert own["b_address"] not in joins
        assert {address.rpartition(".")[0] for address in joins} == {
            path["address"].rpartition(".")[0]
        }


def test_addresses_are_used_again_when_there_are_no_more():
    stops = [[f"{at / 10} s", f"{at / 10 + 0.04} s"] for at in range(600)]
    times = {"association": "10 ms", "detection": "0 s"}
    made = plan(ride={"stops": stops, **times})
    addresses = made["topology"]["paths"][0]["addresses"]
    assert len(addresses) == len({*addresses}) == 253
    assert len(changes(made, "address_back")) == 599


def test_only_the_3g_downlink_follows_a_trace():
    made = plan()
    directions = {
        (one["name"], way): one[way]
        for one in made["topology"]["links"]
        for way in ("a_to_b", "b_to_a")
    }
    assert [key for key, one in directions.items() if one["trace"]] == [("3g", "b_to_a")]
    assert directions["3g", "b_to_a"]["rate_bps"] is None
    assert directions["3g", "a_to_b"]["rate_bps"] == 2_000_000
    assert directions["wifi", "b_to_a"]["rate_bps"] == 8_000_000


def test_3g_fades_in_both_directions():
    made = plan(ride=STOPS)
    times = downlink_times(made)
    assert not [time for time in times if 10_000 < time <= 12_000]
    assert [time for time in times if 9_900 < time <= 10_000]
    assert [time for time in times if 12_000 < time <= 12_100]
    assert [(one["at_s"], one["rate_bps"]) for one in made["events"] if "rate_bps" in one] == [
        (10, 0),
        (12, 2_000_000),
    ]


def test_3g_fades_also_in_the_expected_use():
    assert plan(ride=STOPS)["expected_use"]["3g"] == [(0, 10), (12, 60)]


def test_recorded_trace_is_repeated_and_cut(tmp_path):
    (tmp_path / "bus.down").write_text("0\n300\n700\n")
    made = plan(tmp_path, duration="1 s", links__3g__trace="bus.down")
    assert link(made, "3g")["b_to_a"]["trace"] == {
        "file": "bus.down",
        "offset_s": 0,
        "opportunities_ms": [300, 700, 700, 1000, 1400, 1400, 1700],
        "period_ms": 0,
    }
    assert link(made, "3g")["a_to_b"]["trace"] is None


def test_recorded_trace_that_is_not_repeated_and_begins_later(tmp_path):
    (tmp_path / "bus.down").write_text("0\n300\n700\n")
    trace = {"file": "bus.down", "loop": False, "offset": "200 ms"}
    made = plan(tmp_path, duration="1 s", links__3g__trace=trace)
    assert downlink_times(made) == [100, 500]


def test_trace_of_one_direction_or_of_another_link(tmp_path):
    (tmp_path / "up").write_text("5\n")
    made = plan(tmp_path, links__wifi__up__trace="up", links__3g__up__trace="up", ride=STOPS)
    assert link(made, "wifi")["a_to_b"]["trace"]["file"] == "up"
    assert link(made, "wifi")["b_to_a"]["trace"] is None
    assert link(made, "3g")["b_to_a"]["trace"]["file"] == "synthetic ride"
    assert not [event for event in made["events"] if event.get("link") == "3g"]


def test_recorded_3g_does_not_fade_by_the_ride(tmp_path):
    """It does what the trace says, so the run must not tell of fades that were none."""
    (tmp_path / "bus.down").write_text("5\n")
    (tmp_path / "bus.csv").write_text("t_s,rate_mbps\n0,1\n4,2\n8,1\n")
    for name in ("bus.down", "bus.csv"):
        made = plan(tmp_path, links__3g__trace=name, ride=STOPS)
        assert made["ride"] == {"stations": [(0, 5), (20, 60)], "fades": []}
        assert made["expected_use"]["3g"] == [(0, 60)]


def test_csv_trace_becomes_changes_of_its_direction(tmp_path):
    (tmp_path / "bus.csv").write_text("t_s,rate_mbps,loss\n0,1,0.5\n4,2,0\n50,1,0\n")
    made = plan(tmp_path, links__3g__trace="bus.csv", ride={"stations": 1})
    assert link(made, "3g")["b_to_a"]["trace"] is None
    assert made["events"] == [
        {"at_s": at, "change": "link", "link": "3g", "direction": "b_to_a", "rate_bps": rate,
         "loss_fraction": loss}
        for at, rate, loss in [(0, 1e6, 0.5), (4, 2e6, 0), (50, 1e6, 0.5), (54, 2e6, 0)]
    ]  # fmt: skip
    assert "loss_seed" in link(made, "3g")["b_to_a"]


def test_trace_is_a_little_longer_than_the_ride(tmp_path):
    """It cannot run dry within the duration."""
    (tmp_path / "t").write_text("".join(f"{time}\n" for time in range(1, 10_000)))
    made = plan(tmp_path, duration="2 s", links__3g__trace="t")
    assert downlink_times(made)[-1] == 2_000 + TRACE_MARGIN_MS


@pytest.mark.parametrize("first_ms", [60_001, 60_999, 1_000_000])
def test_trace_with_nothing_in_the_duration(first_ms, tmp_path):
    (tmp_path / "bus.down").write_text(f"{first_ms}\n")
    said = refused(folder=tmp_path, links__3g__trace="bus.down")
    assert said == "bus.down: the link can deliver nothing within 60 s"


def test_synthetic_ride_with_nothing_in_the_duration():
    assert refused(duration="1 ms").startswith(
        "synthetic ride: the link can deliver nothing within"
    )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "the trace cannot be read: no such file or directory"),
        (b"\xff\xfe\n", "this is not a trace file: it is not text"),
        (b"", "the trace is empty; give it one time in ms per line"),
    ],
)
def test_trace_that_cannot_be_used(tmp_path, data, message):
    path = tmp_path / "bus.down"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(SpecError) as caught:
        load_trace(path)
    assert str(caught.value) == f"{path}: {message}"


def test_plan_follows_from_the_experiment():
    assert plan() == plan()
    assert plan() != plan(seed=2)


MATRIX = (
    "matrix: {mode: [tcp-wifi, mptcp-full], links.wifi.loss: [0, 0.5]}\nrepetitions: 2\nseed: 5\n"
)


def planned(seed=None, repetitions=None, matrix=MATRIX):
    text = VALID.replace("seed: 1\n", "") + matrix
    experiment = parse_experiment(text, "f", {"workload.size": "1 KB"})
    return plan_experiment(experiment, seed, repetitions)


def test_every_cell_runs_with_every_seed():
    runs = planned()
    assert [run.plan["run_id"] for run in runs[:4]] == [
        "mode=tcp-wifi,links.wifi.loss=0/rep01",
        "mode=tcp-wifi,links.wifi.loss=0/rep02",
        "mode=tcp-wifi,links.wifi.loss=0.5/rep01",
        "mode=tcp-wifi,links.wifi.loss=0.5/rep02",
    ]
    assert [run.plan["seed"] for run in runs] == [5, 6] * 4
    assert [run.repetition for run in runs] == [1, 2] * 4
    assert runs[-1].varied == runs[-1].plan["varied"] == {
        "mode": "mptcp-full", "links.wifi.loss": "0.5"
    }  # fmt: skip
    assert runs[-1].plan["mode"] == "mptcp-full"
    assert link(runs[-1].plan, "wifi")["a_to_b"]["loss_fraction"] == 0.5


def test_seed_and_repetitions_of_the_call_go_before_those_of_the_file():
    assert [run.plan["seed"] for run in planned(seed=9, repetitions=3)] == [9, 10, 11] * 4


def test_equal_seeds_are_equal_rides_in_every_mode():
    rides = [run.plan["ride"] for run in planned(repetitions=1)]
    assert all(one == rides[0] for one in rides)


def test_no_seed_has_more_than_64_bits():
    assert planned(seed=2**64 - 2, repetitions=2)[-1].plan["seed"] == 2**64 - 1
    with pytest.raises(PlanError) as caught:
        planned(seed=2**64 - 2, repetitions=3)
    assert str(caught.value) == "seed: the last of 3 repetitions would have more than 64 bits"


@pytest.mark.parametrize(
    ("varied", "key"),
    [
        ({}, "default"),
        ({"mode": "tcp-3g"}, "mode=tcp-3g"),
        ({"links.3g.queue": "50 packets", "a": "1"}, "links.3g.queue=50-packets,a=1"),
        ({"a": "../../x"}, "a=..-..-x"),
        ({"a": "ä/\n\0"}, "a=-"),
    ],
)
def test_name_of_a_cell_is_a_safe_folder(varied, key):
    assert cell_key(varied) == key


def test_name_of_a_cell_is_short_and_its_own():
    names = {cell_key({"a": "x" * 500 + str(number)}) for number in range(9)}
    assert len(names) == 9
    assert max(map(len, names)) < 150


def test_cells_that_look_alike_have_folders_of_their_own():
    runs = planned(matrix="matrix: {links.wifi.rate: [1 Mbit/s, 1  Mbit/s, 1Mbit/s]}\n")
    keys = [run.key for run in runs]
    assert keys[0] == "links.wifi.rate=1-Mbit-s"
    assert len({*keys}) == 3
    assert all(run.plan["run_id"] == f"{run.key}/rep01" for run in runs)


def test_hash_is_of_the_content():
    """The order of keys does not matter, any value does."""
    assert plan_hash([{"a": 1, "b": [2]}]) == plan_hash([{"b": [2], "a": 1}])
    assert plan_hash([{"a": 1}]) != plan_hash([{"a": 2}])
    assert plan_hash([{"a": 1}]) != plan_hash([{"a": 1}, {"a": 1}])
    assert plan_hash([{"a": 1, "b": [2]}]) == "086f5758"


def test_hash_is_the_same_in_another_process():
    """Neither a random hash seed nor anything of this process is in it."""
    code = (
        "import sys; from testbed.plan import *; from testbed.spec.load import parse_spec; "
        "print(plan_hash([plan_run(parse_spec(sys.stdin.read(), '', {}), 1)]))"
    )
    said = subprocess.run(
        [sys.executable, "-c", code],
        input=VALID,
        capture_output=True,
        check=True,
        text=True,
        env={"PYTHONHASHSEED": "4"},
        timeout=60,
    )
    assert said.stdout.strip() == plan_hash([plan_run(parse_spec(VALID, "", {}), 1)])
