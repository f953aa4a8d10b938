# SPDX-License-Identifier: Apache-2.0
"""The networks of the experiments, one class per file; each docstring has the drawing."""
