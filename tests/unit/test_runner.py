# SPDX-License-Identifier: Apache-2.0
"""The runner, as far as it goes without a network: its reports, its imports, its tools."""

import json
import os
import subprocess
import sys

import pytest

from testbed import runner, target_facts
from testbed.errors import CommandError, PrerequisiteError
from testbed.target_facts import require_tools
from testbed.workloads import WORKLOADS, workload_class
from testbed.workloads.base import Workload

CONTROLLER_ONLY = {
    "click",
    "rich",
    "yaml",
    "pydantic",
    "jinja2",
    "paramiko",
    "numpy",
    "pandas",
    "matplotlib",
}


def test_target_needs_none_of_the_controllers_packages():
    code = "import sys, testbed.runner; print(*{name.partition('.')[0] for name in sys.modules})"
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True, timeout=60
    )
    imported = set(said.stdout.split())
    assert "testbed" in imported
    assert not imported & CONTROLLER_ONLY


def test_report_is_one_line_of_json(capsys):
    runner.report("measure", 1.5)
    runner.report("stop")
    first, second = capsys.readouterr().out.splitlines()
    assert json.loads(first) == {"stage": "measure", "t_s": 1.5}
    assert json.loads(second) == {"stage": "stop", "t_s": None}


def test_all_missing_tools_are_named():
    with pytest.raises(PrerequisiteError) as caught:
        require_tools(["sh", "no-such-a", "no-such-b"])
    assert str(caught.value) == (
        "this machine has no no-such-a and no no-such-b; "
        "install with 'apt-get install no-such-a no-such-b'"
    )


def test_tools_that_are_there():
    require_tools(["sh", "cat"])


def test_versions_are_first_lines_or_why_there_is_none(monkeypatch):
    argvs = {"a": ["printf", "a 1.0 \\nmore"], "b": ["no-such-b"]}
    monkeypatch.setattr(target_facts, "VERSION_ARGV", argvs)
    versions = target_facts.tool_versions(["a", "b", "unknown"])
    assert versions["a"] == "a 1.0"
    assert versions["b"] == "no-such-b cannot be started: no such file or directory"
    assert versions["python"].startswith("3.")
    assert "unknown" not in versions


def test_missing_squid_is_named_with_its_package(tmp_path, monkeypatch):
    """The tools of a download are there but for Squid."""
    for name in ("curl", "mptcpize"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PrerequisiteError) as caught:
        require_tools(list(workload_class("download").tools))
    assert str(caught.value) == ("this machine has no squid; install with 'apt-get install squid'")
    assert caught.value.exit_code == 3


def test_package_may_have_another_name(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PrerequisiteError, match="no ss and no tcpdump; .* iproute2 tcpdump'$"):
        require_tools(["ss", "tcpdump"])


def test_durable_folder(tmp_path):
    (tmp_path / "a").write_text("x")
    target_facts.make_durable(tmp_path)


def test_full_disk_is_noticed_before_the_run_counts(tmp_path, monkeypatch):
    def fail(_):
        raise OSError(28, "No space left on device")

    (tmp_path / "a.pcap").write_text("x")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(CommandError) as caught:
        target_facts.make_durable(tmp_path)
    assert str(caught.value) == (
        "raw/a.pcap cannot be written: no space left on device; "
        "make room in the results folder or choose another with --out"
    )


def test_failure_is_reported_and_sets_the_status(tmp_path, monkeypatch, capsys):
    """The controller reads the sentence from the last line, the status says what kind it is."""

    class Failing:
        def __init__(self, plan, folder):
            assert (plan, folder) == ({"seed": 1}, tmp_path)

        def carry_out(self):
            raise PrerequisiteError("this machine has no squid")

    (tmp_path / "run.json").write_text('{"seed": 1}')
    monkeypatch.setattr(runner, "Run", Failing)
    monkeypatch.setattr(sys, "argv", ["runner", str(tmp_path / "run.json"), str(tmp_path)])
    with pytest.raises(SystemExit) as left:
        runner.main()
    assert left.value.code == 3
    assert json.loads(capsys.readouterr().out) == {
        "stage": "failed",
        "error": "this machine has no squid",
    }


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left on device", "/out/raw/a.pcap"), "a.pcap cannot be written: no"),
        (OSError(30, "Read-only file system", "/out/target.json"), "target.json cannot be written"),
    ],
)
def test_full_disk_is_a_sentence(tmp_path, monkeypatch, capsys, error, said):
    class Failing:
        def __init__(self, plan, folder):
            pass

        def carry_out(self):
            raise error

    (tmp_path / "run.json").write_text("{}")
    monkeypatch.setattr(runner, "Run", Failing)
    monkeypatch.setattr(sys, "argv", ["runner", str(tmp_path / "run.json"), str(tmp_path)])
    with pytest.raises(SystemExit) as left:
        runner.main()
    assert left.value.code == 1
    assert json.loads(capsys.readouterr().out)["error"].startswith(said)


@pytest.mark.parametrize("name", WORKLOADS)
def test_every_workload_is_found_by_its_name(name):
    assert issubclass(workload_class(name), Workload)


def test_a_machine_without_hostapd_is_told_what_to_install(tmp_path, monkeypatch):
    """Only a run with real radios needs it; the tools of all runs are there."""
    for name in ("tcpdump", "ss"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    plan = {"workload": {"name": "bulk"}, "radio": {"level": "gate"}}
    require_tools(runner.Run(plan, tmp_path)._tools())
    plan["radio"]["level"] = "mac80211"
    with pytest.raises(PrerequisiteError) as caught:
        require_tools(runner.Run(plan, tmp_path)._tools())
    assert str(caught.value) == (
        "this machine has no hostapd and no wpa_supplicant; "
        "install with 'apt-get install hostapd wpasupplicant'"
    )
