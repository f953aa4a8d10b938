# SPDX-License-Identifier: Apache-2.0
"""`testbed fairness`: the cases by which coupled congestion control is judged."""

import click

from testbed.cli.execute import execute
from testbed.cli.options import SEVERAL, RunOptions, flatten, run_options
from testbed.cli.parameters import DURATION
from testbed.errors import SpecError
from testbed.lab.kernel import PROJECT_ROOT

CONTROLS = ("reno", "cubic", "lia", "olia", "balia")
DEFAULT_SPEC = PROJECT_ROOT / "experiments" / "fairness.yaml"


@click.command()
@click.option(
    "--scene",
    "scenes",
    type=SEVERAL,
    multiple=True,
    help="Scenes to run: bottleneck, loss-rtt, two-bottlenecks. May be repeated or take commas.  "
    "[default: all]",
)
@click.option(
    "--cc",
    "controls",
    type=SEVERAL,
    multiple=True,
    help="Congestion controls of MPTCP; commas or repeated.  [default: reno,cubic,lia,olia,balia]",
)
@click.option("--rival", help="Congestion control of the TCP connections.  [default: reno]")
@click.option("--warm-up", type=DURATION, help="Left out of the numbers.  [default: by the scene]")
@click.option(
    "--measured", type=DURATION, help="How long is measured, such as 60s.  [default: by the scene]"
)
@run_options
def fairness(
    scenes: tuple[list[str], ...],
    controls: tuple[list[str], ...],
    rival: str | None,
    warm_up: float | None,
    measured: float | None,
    options: RunOptions,
) -> None:
    """Let MPTCP compete with TCP, and choose between paths, under each congestion control.

    One bottleneck for both subflows and a TCP connection; two paths that lose packets; a congested
    path beside a free one. Runs are carried out in a shuffled order.

    Example: testbed fairness --scene bottleneck --cc reno,lia,olia,balia --seeds 5
    """
    from testbed.plan.fairness import SCENES
    from testbed.spec.load import load_experiment

    varied = {
        "mode": flatten(scenes) or list(SCENES),
        "tcp.congestion_control": flatten(controls) or list(CONTROLS),
    }
    asked = {
        "workload.rival": rival,
        "workload.warm_up": _time("--warm-up", warm_up),
        "workload.measured": _time("--measured", measured),
    }
    given = {key: value for key, value in asked.items() if value is not None}
    experiment = load_experiment(DEFAULT_SPEC, {"matrix": varied, **given, **options.overrides})
    execute(experiment, options, is_shuffled=True)


def _time(option: str, seconds: float | None) -> str | None:
    if seconds is not None and seconds <= 0:
        raise SpecError(f"{option}: 0 s shows nothing; give it some seconds")
    return None if seconds is None else f"{seconds:.6f} s"
