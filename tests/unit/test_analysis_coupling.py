# SPDX-License-Identifier: Apache-2.0
import pytest

from analysis.wording import coupling_notes


def run_of(control, transport="mptcp", paths=("wifi", "3g")):
    return {
        "transport": transport,
        "mptcp": {"congestion_control": control},
        "expected_use": {path: [[0.0, 10.0]] for path in paths},
    }


def test_run_on_an_ordinary_kernel_says_that_its_control_is_uncoupled():
    [note] = coupling_notes(run_of("cubic"), {"backend": "vagrant"})

    assert note.startswith("the congestion control cubic is uncoupled")


@pytest.mark.parametrize(
    ("run", "backend"),
    [
        (run_of("lia"), "vagrant"),
        (run_of("cubic"), "lab"),
        (run_of("cubic", transport="tcp"), "ssh:root@host"),
        (run_of("cubic", paths=("wifi",)), "host"),
    ],
)
def test_nothing_is_said_where_it_is_coupled_or_chosen_or_without_meaning(run, backend):
    assert coupling_notes(run, {"backend": backend}) == []
