# SPDX-License-Identifier: Apache-2.0
"""Places in an experiment file: the keys that lead to a value, and what could be there."""

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any, get_args, get_origin

from pydantic import BaseModel

Place = tuple[str, ...]


def is_below(key: str, above: str) -> bool:
    """Say whether a dotted key is another one or lies below it."""
    return key == above or key.startswith(f"{above}.")


def plain_place(location: tuple[int | str, ...], data: Any, *, is_missing: bool) -> Place:
    """Return the keys that lead to a value, without pydantic's names for branches of a union.

    Args:
        location: as pydantic says it.
        data: what was validated.
        is_missing: the last key is one that is not there.
    """
    place: list[str] = []
    here = data
    is_tagged = False
    for number, part in enumerate(location):
        if isinstance(here, dict):
            if not is_tagged and here.get("change") == part:
                is_tagged = True  # the tag of an event, some of which are keys too
                continue
            is_last = number == len(location) - 1
            if part not in here and not (is_last and is_missing):
                continue  # the tag of a union, or the name of a type
            here = here.get(part)
        elif isinstance(here, list) and isinstance(part, int) and part < len(here):
            here = here[part]
        else:
            continue  # inside a plain value: names of types, and what they lack
        place.append(str(part))
    return tuple(place)


def value_at(data: Any, place: Place) -> Any:
    """Return the value at a place, or None."""
    for part in place:
        data = _step(data, part)
    return data


def near_miss(model: type[BaseModel], place: Place, data: Any) -> str:
    """Return ` (did you mean "x"?)` for a key that is unknown at a place, or nothing."""
    near = get_close_matches(place[-1], sorted(known_keys(model, place[:-1], data)), 1, cutoff=0.7)
    return f' (did you mean "{near[0]}"?)' if near else ""


def known_keys(model: type[BaseModel], place: Place, data: Any) -> set[str]:
    """Return the keys that a model knows at a place; of a union, those of the fitting branch."""
    models = [model]
    here = data
    for part in place:
        here = _step(here, part)
        models = [inner for one in models for inner in _inner(one, part)]
    fitting = [one for one in models if _fits(one, here)] or models
    return {field.alias or name for one in fitting for name, field in one.model_fields.items()}


def _step(data: Any, part: str) -> Any:
    if isinstance(data, dict):
        return data.get(part)
    if isinstance(data, list) and part.isdigit() and int(part) < len(data):
        return data[int(part)]
    return None


def _inner(model: type[BaseModel], part: str) -> Iterator[type[BaseModel]]:
    """Yield the models that a key, or an element of the model's lists and mappings, may be."""
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    if part in fields:
        yield from _models(fields[part].annotation)
    else:
        yield model  # an index or a free key: its models were found at the step before


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) is not None:
        for argument in get_args(annotation):
            yield from _models(argument)


def _fits(model: type[BaseModel], data: Any) -> bool:
    """Say whether data carry the tag by which a union knows this model."""
    if not isinstance(data, dict):
        return False
    for name, field in model.model_fields.items():
        values = get_args(field.annotation)
        if values and name in data and data[name] in values:
            return True
    return False
