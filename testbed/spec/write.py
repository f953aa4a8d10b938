# SPDX-License-Identifier: Apache-2.0
"""Writes an experiment down as it was carried out."""

import yaml

from testbed.spec.load import Experiment

HEAD = "# The experiment as it was carried out, with what the command line replaced.\n"


def spec_text(experiment: Experiment) -> str:
    """Return a file that is the same experiment again."""
    body: str = yaml.safe_dump(experiment.data, sort_keys=False, allow_unicode=True, width=100)
    return HEAD + body
