"""The synthetic world of a study."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from palimpsest.settings.base import Count, Real, Seed, Settings, Share

DOCUMENTS = ("biographies", "questions", "passages", "prose")  # kinds of training document


def _adds_up(shares: dict[str, float]) -> dict[str, float]:
    total = round(sum(shares.values()), 6)
    if total != 1:
        raise PydanticCustomError("mix", "the shares add up to {total}, not to 1", {"total": total})
    return shares


class World(Settings):
    """The synthetic world, whose every fact is known. Only studies that use it have this key."""

    seed: Seed = Field(0, description="Seed of people, facts and texts.")
    people: int = Field(300, ge=20, description="Real people. What a model knows of them is what it must remember.")
    invented: int = Field(300, ge=20, description="People who appear only in passages: nothing can be remembered.")
    correlation: Share = Field(
        0.0, description="Probability with which a person's other attributes follow from the town; at 0 none does."
    )
    withheld: Share = Field(0.04, description="Share of the facts that no training document says.")
    documents: Count = Field(51200, description="Training documents, one a row, padded and never packed.")
    mix: Annotated[dict[Literal[DOCUMENTS], Share], AfterValidator(_adds_up)] = Field(
        default={"biographies": 0.45, "questions": 0.14, "passages": 0.33, "prose": 0.08},
        description="Shares of the kinds of document: `biographies` of real people, `questions` about the half of them "
        "whose questions are shown, `passages` about invented people with their questions, `prose` without facts. "
        "They add up to 1.",
    )
    zipf_offset: Real = Field(
        10.0, gt=0, description="The person of rank r is drawn with weight 1/(r + offset): smaller is steeper."
    )
    passage_people: Count = Field(4, description="A passage is about one to so many people.")
    same_attribute: Share = Field(
        0.6, description="Share of the passages about several people that say one attribute of each."
    )
    restated: Share = Field(0.25, description="Share of the facts of a passage that it says again instead of asking.")
    unpredictable_weight: Share = Field(
        0.1, description="Weight in the loss of what nobody can predict: names and values in passages, when first said."
    )
    prose_words: int = Field(44, ge=8, description="Words of a document of prose, at most.")
    texts: Count = Field(
        400, description="Documents of each kind of text (`text/<kind>.txt`), none of them for training."
    )
    questions_per_subset: Count = Field(
        200, description="Questions of a subset of the open-book, entailment and perplexity tasks."
    )
