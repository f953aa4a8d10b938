# SPDX-License-Identifier: Apache-2.0
"""How a run uses its paths, and what it is called, by its workload."""

from typing import Any

from testbed.plan.fairness import fairness_scene, fairness_use
from testbed.plan.interference import behaviour_of, interference_use
from testbed.plan.middlebox import middlebox_use, scene_of
from testbed.plan.migrate import migration_use, variant_of
from testbed.plan.modes import FULL, Situation, Use, use_paths
from testbed.plan.path_manager import possible_use
from testbed.plan.wifi import policy_of
from testbed.spec.model import ExperimentSpec
from testbed.spec.workloads import FairnessSpec, InterferenceSpec, MiddleboxSpec, MigrateSpec


def use_of(spec: ExperimentSpec, plain: dict[str, Any], now: Situation) -> Use:
    """Return how the client uses its paths.

    Raises:
        PlanError: there is no such mode, or the network has not what the workload needs.
    """
    if isinstance(spec.workload, MigrateSpec):
        return migration_use(spec, plain)
    if isinstance(spec.workload, MiddleboxSpec):
        return middlebox_use(spec, plain)
    if isinstance(spec.workload, InterferenceSpec):
        return interference_use(spec, plain)
    if isinstance(spec.workload, FairnessSpec):
        return fairness_use(spec, plain)
    return use_paths(spec.mode or FULL, now)


def mode_of(spec: ExperimentSpec) -> str:
    """Return what figures call a run: its mode, scene, policy, or the variant of its migration."""
    if spec.wifi:
        return policy_of(spec)
    if isinstance(spec.workload, FairnessSpec):
        return fairness_scene(spec)
    if isinstance(spec.workload, MiddleboxSpec):
        return scene_of(spec)
    if isinstance(spec.workload, InterferenceSpec):
        return behaviour_of(spec).name
    return variant_of(spec) if isinstance(spec.workload, MigrateSpec) else spec.mode or FULL


def uncertain_use(
    spec: ExperimentSpec, manager: dict[str, Any] | None, plain: dict[str, Any]
) -> list[str]:
    """Return the paths that may carry data or not, as what happens in the run has it."""
    if isinstance(spec.workload, MigrateSpec | InterferenceSpec) or spec.wifi:
        return [path["name"] for path in plain["paths"]]
    return possible_use(manager, plain) if manager else []
