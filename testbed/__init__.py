# SPDX-License-Identifier: Apache-2.0
"""The MPTCP testbed: experiments, the lab kernel they run in, and their results.

Importing this package must stay cheap: the target imports it inside the lab.
"""

__version__ = "0.1.0"
