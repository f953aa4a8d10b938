# SPDX-License-Identifier: Apache-2.0
"""Configuration files from templates."""

from xml.etree import ElementTree

import jinja2
import pytest

from testbed.render import TEMPLATES, render

SQUID = {"port": 3128, "clients": "10.0.0.0/8", "scratch": "/tmp/x"}


def test_squid_conf():
    lines = render("squid.conf.j2", **SQUID).splitlines()
    assert "http_port 0.0.0.0:3128" in lines
    assert "acl emulated src 10.0.0.0/8" in lines
    assert "cache deny all" in lines
    assert "cache_log /tmp/x/squid.log" in lines
    assert lines.index("http_access allow emulated") < lines.index("http_access deny all")


def test_squid_conf_is_complete():
    """Nothing is left of the template's own language, and the last line ends."""
    text = render("squid.conf.j2", **SQUID)
    assert "{{" not in text
    assert "{%" not in text
    assert text.endswith("\n")


@pytest.mark.parametrize("missing", sorted(SQUID))
def test_undefined_variable_is_an_error(missing):
    values = {name: value for name, value in SQUID.items() if name != missing}
    with pytest.raises(jinja2.UndefinedError, match=f"'{missing}' is undefined"):
        render("squid.conf.j2", **values)


def test_text_is_not_escaped():
    """A configuration file is not HTML."""
    assert "src <a&b>" in render("squid.conf.j2", **{**SQUID, "clients": "<a&b>"})


def test_rules_of_a_middlebox():
    text = render("middlebox.nft.j2", address="10.0.4.2", next="10.0.3.1", port=7001)
    lines = [line.strip() for line in text.splitlines()]
    assert "ip daddr 10.0.4.2 tcp dport 7001 dnat to 10.0.3.1:7001" in lines
    assert "ip daddr 10.0.3.1 tcp dport 7001 snat to 10.0.4.2" in lines
    assert text.count("{") == text.count("}")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"nat_address": "10.0.2.2"}, "tcp dport 7001 snat to 10.0.2.2:40000-40999"),
        (
            {"rule": "tcp option mptcp subtype 1"},
            "tcp option mptcp subtype 1 reset tcp option mptcp",
        ),
        ({"is_queued": True}, "tcp sport 7001 queue num 0"),
    ],
)
def test_rules_of_a_middlebox_that_interferes(given, expected):
    """It does what is asked for, and nothing else; it counts connections always."""
    plain = {"port": 7001, "nat_address": "", "rule": "", "is_queued": False}
    without = render("interference.nft.j2", **plain)
    text = render("interference.nft.j2", **{**plain, **given})
    lines = [line.strip() for line in text.splitlines()]
    assert expected in lines
    assert not any(word in without for word in ("snat", "reset", "queue"))
    assert any(line.startswith("update @connections") for line in lines)


def test_description_of_a_virtualbox_machine():
    """It names the file of its disk, and says how large that is."""
    root = ElementTree.fromstring(render("box.ovf.j2", size_bytes=4096))
    space = "{http://schemas.dmtf.org/ovf/envelope/1}"
    [file], [disk] = root.iter(f"{space}File"), root.iter(f"{space}Disk")
    assert file.get(f"{space}href") == "box-disk001.vmdk"
    assert disk.get(f"{space}fileRef") == file.get(f"{space}id")
    assert disk.get(f"{space}capacity") == "4096"


def test_every_template_is_tested():
    """The Vagrantfile is in test_vm_vagrant.py."""
    assert sorted(path.name for path in TEMPLATES.iterdir()) == [
        "Vagrantfile.j2",
        "box.ovf.j2",
        "interference.nft.j2",
        "middlebox.nft.j2",
        "middlebox_inspector6.nft.j2",
        "middlebox_proxy.nft.j2",
        "squid.conf.j2",
    ]
