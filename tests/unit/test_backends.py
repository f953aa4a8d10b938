# SPDX-License-Identifier: Apache-2.0
"""Names of backends, addresses of machines, and files that arrive in pieces."""

import hashlib
from pathlib import Path

import pytest

from testbed.backends import check_backend, make_backend
from testbed.backends.host import HostBackend
from testbed.backends.lab import LabBackend
from testbed.backends.remote.address import CONFIG, SshTarget, parse_address, resolve
from testbed.backends.remote.fetch import Fetch
from testbed.errors import BackendError, SpecError
from testbed.target import machine


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("root@192.0.2.1", ("root", "192.0.2.1", None)),
        ("lab1:2222", (None, "lab1", 2222)),
        ("me@[2001:db8::1]:22", ("me", "2001:db8::1", 22)),
    ],
)
def test_an_address_has_user_host_and_port(text, parts):
    assert parse_address(text) == parts


@pytest.mark.parametrize(
    "text", ["", "a b", "root@", "h:0", "h:99999", "-oProxyCommand=x", "a@b@c"]
)
def test_what_is_no_address_is_refused(text):
    with pytest.raises(SpecError, match="is no machine; write ssh:USER@HOST"):
        parse_address(text)


def test_backends_are_made_by_name():
    assert isinstance(make_backend("lab"), LabBackend)
    assert isinstance(make_backend("host"), HostBackend)
    assert check_backend("ssh:root@h") == "ssh:root@h"


@pytest.mark.parametrize("text", ["moon", "ssh", "ssh:", "lab:x", "host:1"])
def test_other_names_are_refused_with_those_that_there_are(text):
    with pytest.raises(SpecError, match=r"there are lab, host, ssh:USER@HOST\[:PORT\]"):
        check_backend(text)


def test_the_configuration_of_ssh_is_read_but_not_its_leave_to_trust_anybody(tmp_path):
    config = tmp_path / "config"
    config.write_text(
        "Host vm\n HostName 127.0.0.1\n User vagrant\n Port 2222\n IdentityFile /keys/vm\n"
        " StrictHostKeyChecking no\n UserKnownHostsFile /dev/null\n ProxyCommand nc %h %p\n"
    )
    target = resolve("vm", config)

    assert (target.host, target.port, target.user) == ("127.0.0.1", 2222, "vagrant")
    assert target.key_files == (Path("/keys/vm"),)
    assert target.proxy_command == "nc 127.0.0.1 2222"
    assert Path("/dev/null") in target.known_hosts
    assert target.known_as == "[127.0.0.1]:2222"
    assert resolve("me@vm:22", config).port == 22


def test_a_configuration_that_was_named_must_be_there(monkeypatch):
    monkeypatch.setenv(CONFIG, "/nowhere/config")
    with pytest.raises(SpecError, match="/nowhere/config does not exist"):
        resolve("h")


def test_a_machine_is_called_by_its_name():
    assert SshTarget("192.0.2.1", 2222).label == "192.0.2.1:2222"
    assert SshTarget("192.0.2.1", name="vm").label == "vm"


CONTENTS = {"raw/a": b"a" * 70, "raw/empty": b"", "raw/sub/b": b"b" * 5, "runner.log": b"said"}
MANIFEST = {
    name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    for name, data in CONTENTS.items()
}
NAMES = list(CONTENTS)


def sent(first, offset, *, until=None, block=7):
    data = b"".join(CONTENTS[name] for name in NAMES[first:])[offset:until]
    return (data[at : at + block] for at in range(0, len(data), block))


@pytest.mark.parametrize("cut", [1, 7, 69, 70, 74])
def test_a_transfer_goes_on_where_it_was_cut(tmp_path, cut):
    fetch, asked = Fetch(tmp_path, MANIFEST, "vm"), []

    def stream(first, offset):
        asked.append((first, offset))
        return sent(first, offset, until=None if len(asked) > 1 else cut)

    fetch.take(stream)
    assert not fetch.is_complete
    fetch.take(stream)

    assert fetch.is_complete
    assert asked[1] == ((0, cut) if cut < 70 else (2, cut - 70))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {str(path.relative_to(tmp_path)): path.read_bytes() for path in files} == CONTENTS


def test_a_file_with_another_content_is_asked_for_again_and_then_given_up(tmp_path):
    wrong = {**MANIFEST, "raw/a": {"size": 70, "sha256": "0" * 64}}
    fetch = Fetch(tmp_path, wrong, "vm")
    fetch.take(sent)
    fetch.take(sent)
    with pytest.raises(BackendError, match="raw/a came 3 times with another content"):
        fetch.take(sent)


@pytest.mark.parametrize("name", ["../x", "raw/../../x", "/etc/passwd", "manifest.json", "raw"])
def test_a_machine_cannot_write_outside_the_run(tmp_path, name):
    with pytest.raises(BackendError, match="which is not part of a run"):
        Fetch(tmp_path, {name: {"size": 0, "sha256": ""}}, "vm")


def test_all_that_a_machine_lacks_is_in_one_sentence():
    findings = [
        machine.judge_root(1000),
        machine.judge_mptcp(False),
        machine.judge_tool("tcpdump", None),
        machine.judge_tool("curl", None),
    ]
    sentence = machine.missing_sentence(findings, "vm")

    assert sentence == (
        "vm cannot carry out runs with its own kernel: root: no (run it as root, or allow sudo "
        "without a password); MPTCP: not in the kernel (boot a kernel with CONFIG_MPTCP, such as "
        "Debian's); tcpdump: not installed (apt-get install tcpdump)"
    )
    assert machine.missing_sentence(findings[3:], "vm") is None
