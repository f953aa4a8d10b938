# SPDX-License-Identifier: Apache-2.0
"""The experiment file: its model, and its loading. Looks at nothing but the file."""
