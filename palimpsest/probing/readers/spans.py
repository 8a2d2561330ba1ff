"""Spans in JSON lines, for entities and coreference that no treebank marks. A line is a sentence or a short text:

    {"words": ["Alba", "said", "she", "saw", "Lund"], "split": "train",
     "spans": [{"from": 0, "to": 1, "type": "person", "entity": "e1"},
               {"from": 2, "to": 3, "entity": "e1"}, {"from": 4, "to": 5, "type": "town", "entity": "e2"}]}

`from` and `to` count words from 0; `to` is the first word behind the span. `type` is the class of a probe with
`label: entity`; `entity` names what is spoken of, for `label: coreference`: pairs of spans of one line, of the same
entity or of two. `id` is optional, `file` in the definition is the pattern of the files (default *.jsonl).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from palimpsest.evaluation.readers.files import Rows, find, numbered_json
from palimpsest.probing.readers.mentions import Mention, coreference_rows, entity_rows
from palimpsest.provenance import PalimpsestError

SPLITS = ("train", "validation", "test")
ROWS = {"entity": entity_rows, "coreference": coreference_rows}


def spans(folder: Path, definition: Mapping[str, Any]) -> Rows:
    """Rows of kind edge."""
    if definition.get("label") not in ROWS:
        raise PalimpsestError(
            f"{definition['probe']}: label: {definition.get('label')!r}. Write entity or coreference."
        )
    for path in find(folder, definition.get("file", "*.jsonl")):
        for number, record in numbered_json(path):
            place = f"{path}, line {number}"
            words, split = record.get("words"), record.get("split")
            if not isinstance(words, list) or not words or not all(isinstance(word, str) and word for word in words):
                raise PalimpsestError(f"{place}: words must be a list of words, none of them empty.")
            if split not in SPLITS:
                raise PalimpsestError(f"{place}: split is {split!r}; it must be one of {', '.join(SPLITS)}.")
            name = str(record.get("id", f"{path.stem}/{number}"))
            found = [_mention(span, len(words), place) for span in record.get("spans", ())]
            for row in ROWS[definition["label"]](name, words, found):
                yield place, row | {"split": split}


def _mention(span: Any, words: int, place: str) -> Mention:
    if not isinstance(span, dict) or not all(type(span.get(end)) is int for end in ("from", "to")):
        raise PalimpsestError(f'{place}: a span is {{"from": 0, "to": 2, "type": …, "entity": …}}, not {span!r}.')
    if not 0 <= span["from"] < span["to"] <= words:
        raise PalimpsestError(
            f"{place}: the span from {span['from']} to {span['to']} is out of range: there are {words} words, counted "
            "from 0, and `to` is the first word behind the span."
        )
    return Mention(span["from"], span["to"], span.get("type"), span.get("entity"))
