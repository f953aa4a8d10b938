# SPDX-License-Identifier: Apache-2.0
"""The client whose addresses come and go, with a kernel that only takes note."""

from types import SimpleNamespace

import pytest

from testbed.emulation import mptcp
from testbed.emulation.mptcp import MultipathClient, probe_limit, set_limits
from testbed.errors import BackendError, PrerequisiteError
from testbed.netlink import route


class Kernel:
    """Notes what is asked of it, and takes limits up to a greatest one."""

    def __init__(self, most=8):
        self.most = most
        self.done = []
        self.interfaces = {}

    def add(self, request, what):
        self.done.append(what)

    request = add

    def flush(self):
        pass

    def add_endpoint(self, endpoint):
        self.done.append(("add", endpoint.address, endpoint.identifier, endpoint.flags))
        self.interfaces[endpoint.address] = endpoint.interface_index

    def delete_endpoint(self, endpoint):
        self.done.append(("delete", endpoint.address, endpoint.identifier))

    def set_backup(self, endpoint, is_backup):
        self.done.append(("backup", endpoint.address, is_backup))

    def set_limits(self, subflows, add_addr_accepted):
        if max(subflows, add_addr_accepted) > self.most:
            raise BackendError("the kernel refused to set the MPTCP limits: invalid argument")
        self.done.append(("limits", subflows, add_addr_accepted))


def link(number, name):
    return {
        "name": name,
        "a": "laptop",
        "b": "ap",
        "a_address": f"10.0.{number}.2",
        "b_address": f"10.0.{number}.1",
        "prefix_length": 24,
    }


@pytest.fixture
def kernel():
    return Kernel()


@pytest.fixture
def client(kernel):
    node = SimpleNamespace(
        name="laptop", rtnl=kernel, path_manager=kernel, indexes={"wlan0": 12, "cell0": 13}
    )
    network = SimpleNamespace(
        nodes={"laptop": node}, links={"wifi": link(1, "wifi"), "3g": link(2, "3g")}
    )
    paths = [
        {"name": name, "node": "laptop", "interface": interface, "address": f"10.0.{number}.2",
         "addresses": [f"10.0.{number}.2", f"10.0.{number}.3"], "hops": [[name, "a_to_b"]]}
        for number, (name, interface) in enumerate([("wifi", "wlan0"), ("3g", "cell0")], 1)
    ]  # fmt: skip
    made = MultipathClient(network, paths, {"wifi": ("subflow",), "3g": ("subflow", "backup")})
    made.set_up()
    return made


def test_every_address_has_a_rule_and_every_path_its_routes(client, kernel):
    """Addresses that come later have their rules from the start."""
    assert kernel.done[:4] == [
        "route what comes from 10.0.1.2",
        "route what comes from 10.0.1.3",
        "route by the path wifi",
        "route by the path wifi",
    ]
    assert kernel.done[-2:] == [
        ("add", "10.0.1.2", 1, ("subflow",)),
        ("add", "10.0.2.2", 2, ("subflow", "backup")),
    ]


def test_a_subflow_leaves_by_the_interface_of_its_path(client, kernel):
    """An endpoint without one would open the second subflow over the first path."""
    assert kernel.interfaces == {"10.0.1.2": 12, "10.0.2.2": 13}


def test_another_address_comes_with_routes_and_endpoint(client, kernel):
    client.address_gone("wifi")
    kernel.done.clear()
    client.address_back("wifi", "10.0.1.3")
    assert client.address_of("wifi") == "10.0.1.3"
    assert kernel.done == [
        "give the address 10.0.1.3",
        "route by the path wifi",
        "route by the path wifi",
        ("add", "10.0.1.3", 1, ("subflow",)),
    ]


def test_endpoint_goes_before_its_address(client, kernel):
    """So that the connection learns of it and tells its peer."""
    kernel.done.clear()
    client.address_gone("3g")
    assert kernel.done == [("delete", "10.0.2.2", 2), "take the address 10.0.2.2"]
    with pytest.raises(BackendError) as caught:
        client.address_of("3g")
    assert str(caught.value) == "laptop has no address on the path 3g now"


def test_only_the_paths_of_the_start_stay(client):
    client.keep_only(["3g"])
    assert client.address_of("3g") == "10.0.2.2"
    with pytest.raises(BackendError):
        client.address_of("wifi")


def test_endpoint_is_removed_and_added_with_other_flags(client, kernel):
    client.endpoint_remove("3g")
    with pytest.raises(BackendError, match="^the path 3g of laptop has no MPTCP endpoint$"):
        client.endpoint_remove("3g")
    client.endpoint_add("3g", ("subflow", "fullmesh"))
    assert kernel.done[-2:] == [
        ("delete", "10.0.2.2", 2),
        ("add", "10.0.2.2", 2, ("subflow", "fullmesh")),
    ]


def test_path_without_an_endpoint_gets_none_with_its_address(client, kernel):
    client.endpoint_remove("wifi")
    client.address_gone("wifi")
    client.address_back("wifi", "10.0.1.3")
    assert kernel.done[-1] == "route by the path wifi"


def test_backup_is_kept_over_the_next_address(client, kernel):
    client.endpoint_backup("3g", False)
    assert kernel.done[-1] == ("backup", "10.0.2.2", False)
    client.endpoint_backup("wifi", True)
    for path in ("3g", "wifi"):
        client.address_gone(path)
        client.address_back(path, f"10.0.{2 if path == '3g' else 1}.3")
    added = [one for one in kernel.done if one[0] == "add"]
    assert added[-2:] == [
        ("add", "10.0.2.3", 2, ("subflow",)),
        ("add", "10.0.1.3", 1, ("subflow", "backup")),
    ]


def test_routes_are_by_the_gateway_of_the_link(client, monkeypatch):
    asked = []
    monkeypatch.setattr(
        route,
        "new_route",
        lambda to, length, index, gateway, **more: asked.append((index, gateway, more)),
    )
    client.address_back("3g", "10.0.2.3")
    assert asked == [
        (13, "10.0.2.1", {"source": "10.0.2.3", "is_onlink": False, "table": 102}),
        (13, "10.0.2.1", {"source": "10.0.2.3", "is_onlink": False, "metric": 200}),
    ]


def nodes(kernel):
    return {
        "ap": SimpleNamespace(path_manager=None),
        "laptop": SimpleNamespace(path_manager=kernel),
        "proxy": SimpleNamespace(path_manager=kernel),
    }


def test_limits_are_those_of_every_host(kernel):
    set_limits(nodes(kernel), {"subflows": 8, "add_addr_accepted": 2})
    assert kernel.done == [("limits", 8, 2)] * 2


def test_more_subflows_than_the_kernel_takes(kernel):
    with pytest.raises(PrerequisiteError) as caught:
        set_limits(nodes(kernel), {"subflows": 1000, "add_addr_accepted": 8})
    assert str(caught.value) == (
        "mptcp.limits: this kernel takes at most 8 of each, asked were 1000 subflows and "
        "8 addresses; lower the limits or use a newer kernel"
    )


def test_refusal_that_has_another_reason_stays_what_it_is(kernel, monkeypatch):
    def refuse(subflows, add_addr_accepted):
        if (subflows, add_addr_accepted) == (2, 2):
            raise BackendError("no buffer space available")

    monkeypatch.setattr(kernel, "set_limits", refuse)
    with pytest.raises(BackendError, match="^no buffer space available$"):
        set_limits(nodes(kernel), {"subflows": 2, "add_addr_accepted": 2})


@pytest.mark.parametrize(("most", "found"), [(8, 8), (64, 64), (9, 8), (1, 0), (1000, 255)])
def test_greatest_limit_of_those_known(most, found):
    assert probe_limit(Kernel(most)) == found


def test_sysctls():
    asked = {
        "congestion_control": "reno",
        "path_manager": "kernel",
        "scheduler": "default",
        "stale_loss_count": 2,
    }
    found = mptcp.sysctls(asked)
    assert found["net.ipv4.tcp_congestion_control"] == "reno"
    assert (found["net.mptcp.enabled"], found["net.mptcp.blackhole_timeout"]) == (1, 0)
    assert found["net.mptcp.stale_loss_cnt"] == 2


def test_names_that_the_kernel_does_not_have(monkeypatch):
    monkeypatch.setattr(mptcp, "read_sysctl", {"the.sysctl": "reno cubic\n"}.__getitem__)
    mptcp.check_known("tcp.congestion_control", "cubic", "the.sysctl")
    with pytest.raises(PrerequisiteError) as caught:
        mptcp.check_known("tcp.congestion_control", "vegas", "the.sysctl")
    assert str(caught.value) == (
        'tcp.congestion_control: this kernel has no "vegas"; it has reno, cubic'
    )


class FullKernel(Kernel):
    """Takes eight endpoints, as Linux 6.12 does."""

    def add_endpoint(self, endpoint):
        if sum(one[0] == "add" for one in self.done) == 8:
            raise BackendError("the kernel refused to add the MPTCP endpoint: invalid argument")
        super().add_endpoint(endpoint)


def client_with(kernel, count):
    names = [f"p{number}" for number in range(1, count + 1)]
    node = SimpleNamespace(
        name="laptop", rtnl=kernel, path_manager=kernel, indexes=dict.fromkeys(names, 12)
    )
    links = {name: link(number, name) for number, name in enumerate(names, 1)}
    network = SimpleNamespace(nodes={"laptop": node}, links=links)
    paths = [
        {"name": name, "node": "laptop", "interface": name, "address": f"10.0.{number}.2",
         "addresses": [f"10.0.{number}.2"], "hops": [[name, "a_to_b"]]}
        for number, name in enumerate(names, 1)
    ]  # fmt: skip
    return MultipathClient(network, paths, dict.fromkeys(names, ("subflow",)))


def test_more_endpoints_than_the_kernel_takes():
    client_with(FullKernel(), 8).set_up()
    with pytest.raises(PrerequisiteError) as caught:
        client_with(FullKernel(), 9).set_up()
    assert str(caught.value) == (
        "mptcp.endpoints: this kernel takes 8 endpoints per host, asked were 9; "
        "give fewer paths an endpoint or use a newer kernel"
    )
