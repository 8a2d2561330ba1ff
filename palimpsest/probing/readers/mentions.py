"""Mentions of entities: a span of words, with the entity's type and, where it is said, which entity it is.

In CoNLL-U they stand in the MISC column, in one of two forms:

    Entity=(e1-person    Entity=e1)      brackets of CorefUD and GUM, whose fields `# global.Entity` names
    NER=B-PER            NER=I-PER       BIO, IOB2 or BIOES tags of each word
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import combinations
from typing import TYPE_CHECKING, Any

from palimpsest.provenance import PalimpsestError

if TYPE_CHECKING:
    from palimpsest.probing.readers.conllu import Sentence

FIELDS = "eid-etype-head-other"  # of CorefUD, where a file does not say
BRACKET = re.compile(r"\(([^()]+)(\))?|([^()]+)\)")  # opens, opens and closes in one word, or closes


@dataclass(frozen=True)
class Mention:
    """Words `start` to `end`, the latter not included."""

    start: int
    end: int
    type: str | None = None
    entity: str | None = None


def entity_rows(name: str, words: Sequence[str], found: Sequence[Mention]) -> Iterator[dict[str, Any]]:
    """A row a mention whose type is said."""
    for mention in found:
        if mention.type:
            yield {
                "id": f"{name}/{mention.start + 1}-{mention.end}",
                "words": list(words),
                "spans": [[mention.start, mention.end]],
                "label": mention.type,
            }


def coreference_rows(name: str, words: Sequence[str], found: Sequence[Mention]) -> Iterator[dict[str, Any]]:
    """All pairs of mentions of one entity, and as many of two entities, drawn by the digest of their names."""
    by_label: dict[str, list[dict[str, Any]]] = {"coreferent": [], "distinct": []}
    for one, two in combinations((mention for mention in found if mention.entity), 2):
        identity = f"{name}/{one.start + 1}-{one.end}/{two.start + 1}-{two.end}"
        label = "coreferent" if one.entity == two.entity else "distinct"
        spans = [[one.start, one.end], [two.start, two.end]]
        by_label[label].append({"id": identity, "words": list(words), "spans": spans, "label": label})
    by_label["distinct"].sort(key=lambda row: sha256(row["id"].encode()).digest())
    yield from by_label["coreferent"]
    yield from by_label["distinct"][: len(by_label["coreferent"])]


def mentions(sentence: Sentence) -> list[Mention]:
    """What the MISC column of a sentence marks."""
    misc = [token["misc"] or {} for token in sentence.tokens]
    if any("Entity" in each for each in misc):
        return _brackets(sentence, [each.get("Entity") or "" for each in misc])
    return _tags(sentence, [each.get("NER") or "O" for each in misc])


def _brackets(sentence: Sentence, marks: Sequence[str]) -> list[Mention]:
    """Nested and crossing mentions; those in several parts (e1[1/2]) are left out."""
    fields = sentence.comments.get("global.Entity", FIELDS).split("-")
    found, opened = [], []
    for number, mark in enumerate(marks):
        for whole, closed, closing in BRACKET.findall(mark):
            if whole:
                values = dict(zip(fields, whole.split("-"), strict=False))
                entity = values.get("eid") or values.get("GRP") or values.get("grp")
                opened.append((number, values.get("etype") or None, entity))
            if closed or closing:
                # A closing bracket repeats the entity (CorefUD), its type (GUM), or both (type-entity).
                names = {closing, *closing.split("-")} if closing else None
                matching = [each for each in opened if names is None or names & {each[1], each[2]}]
                if not matching:
                    raise PalimpsestError(
                        f"{sentence.place(number)}: Entity={mark} closes {closing!r}, which is not open. Each mention "
                        "opens and closes in its sentence."
                    )
                opened.remove(matching[-1])
                start, kind, entity = matching[-1]
                if "[" not in (entity or ""):
                    found.append(Mention(start, number + 1, kind, entity))
    if opened:
        start, kind, entity = opened[0]
        raise PalimpsestError(
            f"{sentence.place(start)}: the mention ({entity or kind} is never closed. Each mention opens and closes in "
            "its sentence."
        )
    return sorted(found, key=lambda mention: (mention.start, mention.end))


def _tags(sentence: Sentence, tags: Sequence[str]) -> list[Mention]:
    found: list[Mention] = []
    for number, tag in enumerate(tags):
        prefix, _, kind = tag.partition("-")
        if prefix == "O":
            continue
        if prefix not in set("BIESLU") or not kind:
            raise PalimpsestError(
                f"{sentence.place(number)}: NER={tag}; a tag is O, or B- or I- (E-, S- at the end and of one word) and "
                "the type."
            )
        goes_on = prefix in set("IEL") and found and found[-1].end == number and found[-1].type == kind
        start = found.pop().start if goes_on else number
        found.append(Mention(start, number + 1, kind))
    return found
