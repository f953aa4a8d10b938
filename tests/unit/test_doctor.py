# SPDX-License-Identifier: Apache-2.0
import json
import mmap
from pathlib import Path

import pytest
from click.testing import CliRunner

from testbed import doctor
from testbed.cli import doctor as cli
from testbed.cli.main import testbed as root_command
from testbed.doctor import Check, Status, is_ready
from testbed.lab import kernel as kernels
from testbed.lab.system_calls import can_filter_system_calls, can_trace

GIB = 2**30


@pytest.mark.parametrize(
    ("check", "status"),
    [
        (doctor.judge_architecture("x86_64"), Status.OK),
        (doctor.judge_architecture("aarch64"), Status.MISSING),
        (doctor.judge_toolchain({}, has_kernel=False), Status.OK),
        (doctor.judge_toolchain({"flex": "flex"}, has_kernel=False), Status.MISSING),
        (doctor.judge_toolchain({"flex": "flex"}, has_kernel=True), Status.WARNING),
        (doctor.judge_memory_folder(Path("/dev/shm"), 8 * GIB), Status.OK),
        (doctor.judge_memory_folder(Path("/dev/shm"), GIB // 16), Status.WARNING),
        (doctor.judge_memory_folder(Path("/var/tmp"), 8 * GIB), Status.WARNING),
        (doctor.judge_isolation(has_seccomp=True, has_ptrace=False), Status.OK),
        (doctor.judge_isolation(has_seccomp=False, has_ptrace=True), Status.WARNING),
        (doctor.judge_isolation(has_seccomp=False, has_ptrace=False), Status.MISSING),
        (doctor.judge_memory(8 * GIB), Status.OK),
        (doctor.judge_memory(GIB // 2), Status.WARNING),
        (doctor.judge_memory(GIB // 64), Status.MISSING),
        (doctor.judge_cache(Path("/x"), 8 * GIB, has_kernel=False), Status.OK),
        (doctor.judge_cache(Path("/x"), GIB // 8, has_kernel=False), Status.MISSING),
        (doctor.judge_cache(Path("/x"), GIB // 8, has_kernel=True), Status.WARNING),
    ],
)
def test_what_is_found_is_judged(check, status):
    """A lack that stops the lab is missing, one that slows it or can wait is a warning."""
    assert check.status == status
    assert bool(check.remedy) == (status != Status.OK)


@pytest.mark.parametrize(
    ("output", "version"),
    [
        ("tcpdump version 4.99.3\nlibpcap version 1.10.3 (with TPACKET_V3)\n", "4.99.3"),
        ("curl 7.88.1 (x86_64-pc-linux-gnu) libcurl/7.88.1 OpenSSL/3.0.22\n", "7.88.1"),
        ("Squid Cache: Version 5.7\nService Name: squid\n", "5.7"),
        ("mptcpize 0.12\n", "0.12"),
        ("ip utility, iproute2-6.1.0, libbpf 1.1.2\n", "6.1.0"),
        ("something else\n", "version unknown"),
    ],
)
def test_versions_are_read(output, version):
    """The version is found in what each tool prints about itself."""
    assert doctor.parse_version(output) == version


def test_one_missing_feature_stops_the_backend():
    """A backend is ready if nothing it needs is missing; warnings do not stop it."""
    ok = Check("a", "lab", Status.OK, "")
    warning = Check("b", "lab", Status.WARNING, "", "mend")
    missing = Check("c", "lab", Status.MISSING, "", "mend")
    assert is_ready([ok, warning])
    assert not is_ready([ok, warning, missing])
    assert is_ready([Check("c", "other", Status.MISSING, "", "mend")])


def test_this_machine_is_examined(tmp_path, monkeypatch):
    """Without tools and without a kernel every lack is found, each with its remedy."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(doctor, "GUEST_PATH", str(tmp_path))
    checks = {check.name: check for check in doctor.examine()}
    assert checks["lab kernel"].remedy == "testbed kernel build"
    for name in ("lab kernel", "build tools", "tcpdump", "squid"):
        assert checks[name].status == Status.MISSING
        assert checks[name].remedy


def test_checkout_without_additions_is_not_told_to_build(tmp_path, monkeypatch):
    """Where `testbed kernel build` cannot help, the remedy is another."""
    monkeypatch.setattr(kernels, "PROJECT_ROOT", tmp_path)
    checks = {check.name: check for check in doctor.examine()}
    assert "runs from a checkout" in checks["lab kernel"].remedy


def test_broken_tool_is_missing(tmp_path, monkeypatch):
    """A tool that is there but does not run is as good as none."""
    tool = tmp_path / "curl"
    tool.write_text("#!/bin/sh\necho 'libcurl.so.4: cannot open' >&2\nexit 127\n")
    tool.chmod(0o755)
    monkeypatch.setattr(doctor, "GUEST_PATH", str(tmp_path))
    checks = {check.name: check for check in doctor.examine()}
    assert checks["curl"].status == Status.MISSING
    assert "cannot open" in checks["curl"].detail


def test_place_without_executable_mappings_is_noticed(monkeypatch):
    """A /dev/shm that is mounted noexec is tried, not guessed."""
    monkeypatch.setattr(mmap, "mmap", refuse)
    checks = {check.name: check for check in doctor.examine()}
    assert checks["memory file"].status == Status.MISSING
    assert "remount,exec" in checks["memory file"].remedy


def refuse(*_: object, **__: object) -> None:
    raise PermissionError("Operation not permitted")


def test_probes_of_system_calls_leave_us_as_we_are():
    """The probes run in children: this process has no filter and no tracer afterwards."""
    before = own_restrictions()
    can_filter_system_calls()
    can_trace()
    assert own_restrictions() == before


def own_restrictions() -> list[str]:
    status = Path("/proc/self/status").read_text().splitlines()
    return [line for line in status if line.startswith(("TracerPid", "NoNewPrivs", "Seccomp"))]


@pytest.mark.parametrize(("status", "code"), [(Status.OK, 0), (Status.MISSING, 3)])
def test_exit_code_tells_whether_the_lab_runs(monkeypatch, status, code):
    """The command ends with 3 when the lab cannot run, in both forms of output."""
    check = Check("lab kernel", "lab", status, "[not] built", "testbed kernel build")
    monkeypatch.setattr(cli, "examine", lambda: [check])
    table = CliRunner().invoke(root_command, ["doctor"])
    record = CliRunner().invoke(root_command, ["doctor", "--json"])
    assert (table.exit_code, record.exit_code) == (code, code)
    assert "[not] built" in table.output
    assert "to mend lab kernel: testbed kernel build" in table.output
    assert json.loads(record.output)["backends"] == {"lab": code == 0}
