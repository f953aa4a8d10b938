# SPDX-License-Identifier: Apache-2.0
"""What the unit tests share: how Hypothesis searches, on machines that are slow or shared."""

from pathlib import Path

import hypothesis
from hypothesis.configuration import set_hypothesis_home_dir

set_hypothesis_home_dir(Path(__file__).parents[2] / ".hypothesis_cache")

# A deadline would measure the machine; a database would let one run depend on the one before.
hypothesis.settings.register_profile("unit", deadline=None, database=None, max_examples=30)
hypothesis.settings.load_profile("unit")
