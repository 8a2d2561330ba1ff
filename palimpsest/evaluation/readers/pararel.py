"""ParaRel (Elazar et al., arXiv:2102.01017): one fact asked by several paraphrases."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from palimpsest.evaluation.readers.files import Rows
from palimpsest.evaluation.readers.records import Record, matching, records

OBJECT_LAST = re.compile(r"(?P<before>[^\[]*\[X\].*?)\s*\[Y\]\s*\.?\s*")


def pararel(folder: Path, settings: dict[str, Any]) -> Rows:
    """A row a fact and paraphrase: `question` is the sentence up to its object, `options` are the relation's objects.

    A decoder reads from left to right, so only paraphrases that end with the object are asked (the authors asked
    masked models); a relation needs two of them. `passage` is the fact, `form` the paraphrase, `subset` the relation.
    """
    for path in matching(folder, ["pattern_data/graphs_json/*.jsonl"]):
        relation = path.name.removesuffix(".jsonl")
        patterns = [(record.number, _before(record)) for record in records(path.parent, [path.name])]
        patterns = [(number, before) for number, before in patterns if before]
        if len(patterns) < 2:
            continue
        facts = list(records(folder, [f"trex_lms_vocab/{path.name}"]))
        objects = sorted({fact.need("obj_label") for fact in facts})
        for fact in facts:
            name = f"{relation}/{fact.get('uuid') or fact.number}"
            for number, before in patterns:
                yield fact.row(
                    id=f"{name}/{number}",
                    subset=relation,
                    passage=name,
                    form=f"{relation}/{number}",
                    question=before.replace("[X]", fact.need("sub_label")),
                    options=objects,
                    label=objects.index(fact["obj_label"]),
                )


def _before(record: Record) -> str | None:
    found = OBJECT_LAST.fullmatch(record.need("pattern").strip())
    return found and found["before"]
