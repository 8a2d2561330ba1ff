"""What the models of a study have in common: names, levels, numbers, lists."""

from __future__ import annotations

import re
from typing import Annotated, Any

import pydantic
from pydantic import BeforeValidator, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from palimpsest import levels

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"


class Settings(pydantic.BaseModel):
    """A mapping of a study: no key that is not listed, no value of another type, no change after loading."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, strict=True)


def as_level(value: Any) -> str:
    try:
        return levels.parse(value).text
    except levels.LevelError as error:
        raise PydanticCustomError("level", "{message}", {"message": str(error), "meant": error.meant}) from None


def _number(value: Any) -> Any:
    # YAML 1.1 reads 2.0e-3 as a number and 2e-3 as a string.
    scientific = isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]+(\.[0-9]*)?[eE][+-]?[0-9]+", value)
    return float(value) if scientific else value


def slug(value: Any) -> str:
    """A name that is allowed, as near to `value` as can be."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", str(value)).strip("._-")[:64] or "my-name"


def _task_name(value: Any) -> Any:
    # A name is a folder's name too: `lm_eval/arc_easy` is the registry's task beside a shipped one.
    return value.replace("lm_eval/", "lm_eval.", 1) if isinstance(value, str) else value


def _names_tag(value: Any) -> str:
    return "list" if isinstance(value, list) else "name"


Name = Annotated[str, Field(pattern=NAME)]
TaskName = Annotated[str, BeforeValidator(_task_name, json_schema_input_type=str)]
Level = Annotated[str, BeforeValidator(as_level, json_schema_input_type=str | float)]
Real = Annotated[float, BeforeValidator(_number, json_schema_input_type=float)]
Count = Annotated[int, Field(ge=1)]
Share = Annotated[Real, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0)]
Counts = Annotated[
    Annotated[Count, Tag("name")] | Annotated[list[Count], Field(min_length=1), Tag("list")], Discriminator(_names_tag)
]
Names = Annotated[
    Annotated[str, Tag("name")] | Annotated[list[str], Field(min_length=1), Tag("list")], Discriminator(_names_tag)
]
