"""What the models of settings/ expect where: a walk along pydantic's locations, examples, and what was meant."""

from __future__ import annotations

import types
import typing
from typing import Any

import pydantic
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from palimpsest import settings
from palimpsest.checks.problems import KeyPath


def follow(loc: tuple[str | int, ...]) -> tuple[KeyPath, Any, Any]:
    """Pydantic's `loc` -> (the same without the tags of unions, what is expected there, the model that holds it)."""
    expected, parent, path = settings.Study, None, []
    for part in loc:
        if part == "[key]":
            break
        union = members(expected)
        if part in union:
            expected = union[part]
            continue
        expected = bare(expected)
        path.append(part)
        if is_model(expected):
            parent, expected = expected, annotation(expected, part)
        else:
            arguments = typing.get_args(expected)
            expected = arguments[-1] if typing.get_origin(expected) in (dict, list) else Any
    return tuple(path), expected, parent


def is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def annotation(model: type[BaseModel], name: str) -> Any:
    """The annotation of a field with its constraints; Any for a key that the model does not have."""
    field = model.model_fields.get(name)
    return typing.Annotated[field.annotation, field] if field else Any


def bare(kind: Any) -> Any:
    """Without Annotated and without `| None`."""
    while typing.get_origin(kind) is typing.Annotated:
        kind = typing.get_args(kind)[0]
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        rest = [argument for argument in typing.get_args(kind) if argument is not type(None)]
        if len(rest) == 1:
            return bare(rest[0])
    return kind


def members(kind: Any) -> dict[str, Any]:
    """tag -> member of a tagged union; empty for anything else."""
    kind = bare(kind)
    if typing.get_origin(kind) not in (typing.Union, types.UnionType):
        return {}
    found = {}
    for argument in typing.get_args(kind):
        tags = [data.tag for data in getattr(argument, "__metadata__", ()) if isinstance(data, pydantic.Tag)]
        if not tags and is_model(member := bare(argument)):
            tags = typing.get_args(member.model_fields["source"].annotation)
        found |= dict.fromkeys(tags, argument)
    return found


def literals(kind: Any) -> tuple[str, ...]:
    return typing.get_args(bare(kind))


def example(kind: Any) -> Any:
    """A valid value: the field's own example, else its default, else the least that its type allows."""
    data = getattr(kind, "__metadata__", ())
    for field in data:
        if getattr(field, "examples", None):
            return field.examples[0]
        if getattr(field, "default", PydanticUndefined) is not PydanticUndefined and not is_model(bare(kind)):
            return field.default
    plain = bare(kind)
    if union := members(plain):
        return example(next(iter(union.values())))
    if is_model(plain):
        required = [name for name, field in plain.model_fields.items() if field.is_required()]
        return {name: example(annotation(plain, name)) for name in required} or defaults(plain)
    if typing.get_origin(plain) is dict:
        return {"first": example(typing.get_args(plain)[1])}
    if typing.get_origin(plain) is list:
        return [example(typing.get_args(plain)[0])]
    if typing.get_origin(plain) is typing.Literal:
        return literals(plain)[0]
    bounds = [bound for field in data for bound in getattr(field, "metadata", ())]
    least = [bound.ge for bound in bounds if hasattr(bound, "ge")] if plain is int else []
    return {int: max(least, default=0), float: 0.5, bool: True, str: "name"}.get(plain)


def defaults(model: Any) -> dict[str, Any]:
    """The defaults of a model's fields that are plain values."""
    fields = bare(model).model_fields
    return {name: field.default for name, field in fields.items() if field.default not in (None, PydanticUndefined)}


def valid(kind: Any, value: Any) -> bool:
    try:
        pydantic.TypeAdapter(kind).validate_python(value, strict=True)
    except pydantic.ValidationError:
        return False
    return True


def repaired(kind: Any, value: Any) -> Any:
    """What `value` was probably meant to be: "0" as 0, yes as true, a scalar as a list of one; else an example."""
    words = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
    candidates = [value, words.get(str(value).lower())]
    for convert in (int, float, str):
        try:
            if isinstance(value, str) or convert is str or convert(value) == value:
                candidates.append(convert(value))
        except (TypeError, ValueError, OverflowError):
            pass
    candidates += [[candidate] for candidate in candidates]
    candidates = [candidate for candidate in candidates if candidate is not None]
    return next((candidate for candidate in candidates if valid(kind, candidate)), example(kind))
