# SPDX-License-Identifier: Apache-2.0
"""The base of every section of an experiment file: unknown keys are errors, values are fixed."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """One mapping of keys to values in an experiment file."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=False)
