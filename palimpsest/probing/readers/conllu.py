"""CoNLL-U (https://universaldependencies.org/format.html), as treebanks have it, gzipped or not.

    kind: word    label: upos | xpos                part of speech
    kind: edge    label: deprel                     relation of a word to its head: spans [word], [head]; no punctuation
    kind: edge    label: entity | coreference       of files whose MISC column has `Entity=` or `NER=` (mentions.py)
    kind: tree                                      heads, and which words are punctuation

Further keys: `files`, a pattern for each split; `shortest` and `longest`, in words; `subtypes: true` keeps what stands
behind the colon of a relation (nsubj:pass). Words are the syntactic ones: the surface tokens of multiword ranges
(1-2) and empty nodes (1.1) are none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conllu import parser
from conllu.exceptions import ParseException

from palimpsest.evaluation.readers.files import Rows, lines
from palimpsest.evaluation.readers.records import matching
from palimpsest.probing.readers.mentions import coreference_rows, entity_rows, mentions
from palimpsest.probing.trees import problem_of_heads
from palimpsest.provenance import PalimpsestError

FILES = {"train": "*-train.conllu*", "validation": "*-dev.conllu*", "test": "*-test.conllu*"}
UPOS = set("ADJ ADP ADV AUX CCONJ DET INTJ NOUN NUM PART PRON PROPN PUNCT SCONJ SYM VERB X".split())
NONE = ("_", "", None)
# Features and enhanced dependencies are not asked for: they stay as they are.
PARSERS = parser.DEFAULT_FIELD_PARSERS | dict.fromkeys(("feats", "deps"), lambda columns, place: columns[place])


@dataclass
class Sentence:
    """The words of a sentence with a line each; `line` is that of the first, the lists are of equal length."""

    path: Path
    line: int
    name: str = ""
    tokens: list[dict[str, Any]] = field(default_factory=list)
    comments: Mapping[str, str] = field(default_factory=dict)  # those of the file before it, and its own

    @property
    def words(self) -> list[str]:
        return [token["form"] for token in self.tokens]

    @property
    def heads(self) -> list[int]:
        return [token["head"] for token in self.tokens]

    def place(self, number: int = 0) -> str:
        return f"{self.path}, line {self.tokens[number]['line'] if self.tokens else self.line}"


def conllu(folder: Path, definition: Mapping[str, Any]) -> Rows:
    """Rows of the definition's kind and label, split by split."""
    what = definition.get("label", definition["kind"])
    if what not in ROWS or ROWS[what][0] != definition["kind"]:
        known = ", ".join(f"kind: {kind}, label: {label}" for label, (kind, _) in ROWS.items() if kind != "tree")
        raise PalimpsestError(
            f"{definition['probe']}: of CoNLL-U there is no probe of kind {definition['kind']} with label {what!r}. "
            f"There are {known}; and kind: tree."
        )
    for split, pattern in definition.get("files", FILES).items():
        for path in matching(folder, [pattern]):
            for sentence in sentences(path):
                if definition.get("shortest", 1) <= len(sentence.tokens) <= definition.get("longest", 2**31):
                    for row in ROWS[what][1](sentence, definition):
                        yield sentence.place(), row | {"split": split}


def sentences(path: Path) -> Iterator[Sentence]:
    """The sentences of a file, checked: ten columns, words numbered 1, 2, 3, …"""
    comments: dict[str, str] = {}
    sentence = Sentence(path, 1)
    for number, line in lines(path):
        line = line.rstrip("\r\n")
        if not line.strip():
            if sentence.tokens:
                yield _named(sentence, comments)
            sentence = Sentence(path, number + 1)
        elif line.startswith("#"):
            comments |= {key: value for key, value in parser.parse_comment_line(line) if value}
        elif token := _token(path, number, line):
            if token["id"] != len(sentence.tokens) + 1:
                raise PalimpsestError(
                    f"{path}, line {number}: word {token['id']} where word {len(sentence.tokens) + 1} is due. Words "
                    "are numbered 1, 2, 3, … and an empty line ends each sentence."
                )
            sentence.tokens.append(token)
    if sentence.tokens:
        yield _named(sentence, comments)


def _named(sentence: Sentence, comments: dict[str, str]) -> Sentence:
    sentence.name = comments.pop("sent_id", f"{sentence.path.name.split('.')[0]}/{sentence.line}")
    sentence.comments = dict(comments)
    return sentence


def _token(path: Path, number: int, line: str) -> dict[str, Any] | None:
    """One word; None for a range of words or an empty node."""
    columns = line.split("\t")
    if len(columns) != len(parser.DEFAULT_FIELDS):
        raise PalimpsestError(
            f"{path}, line {number}: {len(columns)} columns; CoNLL-U has {len(parser.DEFAULT_FIELDS)}, with a tab "
            f"between each ({', '.join(parser.DEFAULT_FIELDS).upper()})."
        )
    try:
        token = parser.parse_line(line, parser.DEFAULT_FIELDS, PARSERS)
    except ParseException as error:
        raise PalimpsestError(f"{path}, line {number}: not CoNLL-U ({error}).") from None
    if not isinstance(token["id"], int):
        return None
    if token["upos"] not in UPOS and token["upos"] not in NONE:
        raise PalimpsestError(
            f"{path}, line {number}: UPOS is {token['upos']!r}; it must be one of {', '.join(sorted(UPOS))}, or _."
        )
    return {**token, "line": number}


def _tags(column: str):
    def rows(sentence: Sentence, definition: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        labels = [None if token[column] in NONE else token[column] for token in sentence.tokens]
        yield {"id": sentence.name, "words": sentence.words, "labels": labels}

    return rows


def _relations(sentence: Sentence, definition: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    words = sentence.words
    for number, token in enumerate(sentence.tokens):
        head, relation = token["head"], token["deprel"]
        if head is None or not 0 <= head <= len(words):
            raise PalimpsestError(
                f"{sentence.place(number)}: HEAD is {head!r}; it must be 0 to {len(words)}, the number of words."
            )
        if head == 0 or relation in NONE or relation == "punct":
            continue
        yield {
            "id": f"{sentence.name}/{number + 1}",
            "words": words,
            "spans": [[number, number + 1], [head - 1, head]],
            "label": relation if definition.get("subtypes") else relation.partition(":")[0],
        }


def _tree(sentence: Sentence, definition: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    if problem := problem_of_heads(sentence.heads):
        raise PalimpsestError(f"{sentence.place()}: {problem}")
    yield {
        "id": sentence.name,
        "words": sentence.words,
        "heads": sentence.heads,
        "punctuation": [token["upos"] == "PUNCT" for token in sentence.tokens],
    }


def _entities(sentence: Sentence, definition: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    yield from entity_rows(sentence.name, sentence.words, mentions(sentence))


def _coreference(sentence: Sentence, definition: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    yield from coreference_rows(sentence.name, sentence.words, mentions(sentence))


ROWS = {
    "upos": ("word", _tags("upos")),
    "xpos": ("word", _tags("xpos")),
    "deprel": ("edge", _relations),
    "entity": ("edge", _entities),
    "coreference": ("edge", _coreference),
    "tree": ("tree", _tree),
}
