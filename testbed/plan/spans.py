# SPDX-License-Identifier: Apache-2.0
"""Spans of time: lists of (start, end) in seconds, ascending, without overlap."""

from collections.abc import Sequence

Span = tuple[float, float]
Spans = list[Span]


def clip(spans: Sequence[Span], end_s: float) -> Spans:
    """Return what lies within [0, end_s]."""
    inside = [(max(start, 0.0), min(end, end_s)) for start, end in spans]
    return [(start, end) for start, end in inside if start < end]


def complement(spans: Sequence[Span], end_s: float) -> Spans:
    """Return what of [0, end_s] is not in the spans."""
    edges = [0.0, *(edge for span in clip(spans, end_s) for edge in span), end_s]
    return [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if a < b]


def subtract(spans: Sequence[Span], holes: Sequence[Span], end_s: float) -> Spans:
    """Return what of the spans is in none of the holes, within [0, end_s]."""
    rests = complement(holes, end_s)
    parts = [(max(a, c), min(b, d)) for a, b in clip(spans, end_s) for c, d in rests]
    return [(start, end) for start, end in parts if start < end]
