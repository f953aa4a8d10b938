# SPDX-License-Identifier: Apache-2.0
"""What is known of the lab kernel before there is one, and what is refused for it."""

import pytest

from testbed.errors import PlanError
from testbed.lab.features import check_names, congestion_controls
from testbed.lab.kernel import find_additions
from testbed.spec.model import TcpSpec


def plan(control="cubic", scheduler="default", **workload):
    asked = {"congestion_control": control, "scheduler": scheduler}
    return {"mptcp": asked, "workload": {"name": "bulk", **workload}}


def test_congestion_controls_of_a_configuration():
    """Reno is always there; what a later fragment takes away is not."""
    fragments = [
        "CONFIG_TCP_CONG_ADVANCED=y\nCONFIG_TCP_CONG_CUBIC=y\nCONFIG_TCP_CONG_BBR=y\n",
        "CONFIG_MPTCP_CONG_LIA=y\n# CONFIG_TCP_CONG_BBR is not set\nCONFIG_TCP_CONG_HSTCP=y\n",
    ]
    assert congestion_controls(fragments) == ["reno", "cubic", "lia", "highspeed"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (plan("cubik"), 'tcp.congestion_control: the lab kernel has no "cubik" (did you mean "cu'),
        (
            plan("htcp"),
            'tcp.congestion_control: the lab kernel has no "htcp" (there are reno',
        ),
        (
            plan(scheduler="blest"),
            'mptcp.scheduler: the lab kernel has no "blest" (there are def',
        ),
        (plan(rival="rino"), 'workload.rival: the lab kernel has no "rino" (did you mean "reno"?'),
    ],
)
def test_names_that_the_lab_does_not_have(asked, said):
    """In every run, not only in the first."""
    with pytest.raises(PlanError) as caught:
        check_names([plan(), asked])
    assert str(caught.value).startswith(said)


def test_names_that_the_lab_has():
    """The reference names them."""
    said = TcpSpec.model_fields["congestion_control"].description
    names = said.partition("the lab's has ")[2].split(", ")
    check_names(plan(name) for name in names)
    fragments = [path.read_text() for path in find_additions().fragments]
    assert sorted(names) == sorted(congestion_controls(fragments))
    check_names([plan(rival="reno"), plan(rival=None)])


def test_without_a_checkout_only_the_kernel_knows(tmp_path):
    check_names([plan("nosuch")], folder=tmp_path)
