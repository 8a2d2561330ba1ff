"""The rows of a probe, checked and drawn: an artifact folder with `rows.jsonl` and the probe's definition.

Every row has an id. The rest is that of the probe's kind:

    sentence        text, label, split; `key`: what the labels of the control task are keyed to
    question        question, person, attribute, value
    word            words, labels (one a word, or null), split
    edge            words, spans (one or two, [from, to) in words), label, split
    tree            words, heads (1-based, 0 for the root), split
    head            text, label ("true" or "false"), group (tested by halves)
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from palimpsest.evaluation.data import local_folder
from palimpsest.evaluation.readers.files import json_lines
from palimpsest.probing import definition
from palimpsest.probing.drawing import SHARES, draw
from palimpsest.probing.readers import READERS, reader
from palimpsest.provenance import PalimpsestError, atomic_folder, verify_folder
from palimpsest.world import probes as world_probes
from palimpsest.world.entities import entities
from palimpsest.world.truths import truths

Row = dict[str, Any]
LEAST = 10  # rows for training
FIELDS = {
    "sentence": ("text", "label", "split"),
    "question": ("question", "person", "attribute", "value"),
    "word": ("words", "labels", "split"),
    "edge": ("words", "spans", "label", "split"),
    "tree": ("words", "heads", "split"),
    "head": ("text", "label", "group"),
}
LABELS: dict[str, Callable[[Row], list[str]]] = {
    "sentence": lambda row: [row["label"]],
    "edge": lambda row: [row["label"]],
    "head": lambda row: [row["label"]],
    "word": lambda row: [label for label in row["labels"] if label is not None],
}


def write_probe(
    probe: str,
    output_folder: str | Path,
    world: str | Path | None = None,
    root: str | Path | None = None,
    rows: int = 2000,
) -> None:
    """Write the rows of a probe, `rows` of them at most, drawn by their digests: 60/10/30 % for training, validation
    and test where there are enough of each, and of every label in a split the same share.

    Args:
        probe: a YAML file in palimpsest/probing/tasks.
        output_folder: the artifact folder; its name is the probe's.
        world: folder of the generated world, for its probes.
        root: where relative folders of data are looked for; PALIMPSEST_DATA if it is not given.
        rows: at most so many.
    """
    wanted = definition.probes()[probe]
    placed = list(_checked(probe, wanted["kind"], _read(wanted, world, root, rows)))
    found = draw([row for _, row in placed], rows, place=f"probes.{probe}.rows")
    check(probe, wanted["kind"], found)
    with atomic_folder(output_folder) as folder:
        (folder / "rows.jsonl").write_text(
            "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found), "utf-8"
        )
        (folder / f"{probe}.yaml").write_text(yaml.safe_dump(wanted, sort_keys=False), encoding="utf-8")


def read_probe(folder: str | Path) -> tuple[dict[str, Any], list[Row]]:
    """Definition and rows, checked against their digests."""
    folder = Path(folder)
    verify_folder(folder)
    said = yaml.safe_load((folder / f"{folder.name}.yaml").read_text(encoding="utf-8"))
    return said, [row for _, row in json_lines(folder / "rows.jsonl")]


def check(probe: str, kind: str, rows: Sequence[Row]) -> None:
    """Refuse rows that no classifier can learn from or be tested on."""
    if "split" not in FIELDS[kind]:
        return
    splits = Counter(row["split"] for row in rows)
    if splits["train"] < LEAST or not splits["validation"] or not splits["test"]:
        counts = ", ".join(f"{splits[split]} for {split}" for split in SHARES)
        raise PalimpsestError(
            f"probe {probe}: too few rows ({counts}). It needs {LEAST} for training at least, and some for validation "
            "and test."
        )
    if kind not in LABELS:
        return
    seen = {split: {label for row in rows if row["split"] == split for label in LABELS[kind](row)} for split in SHARES}
    if len(every := set().union(*seen.values())) < 2:
        raise PalimpsestError(
            f"probe {probe}: every row has the label {', '.join(map(repr, every)) or 'null'}. There is nothing to tell "
            "apart: give rows of two labels at least."
        )
    for split, labels in seen.items():
        # Sentences are drawn, not their words: that training lacks a rare one is seen to where words are read.
        if kind != "word" and (unknown := sorted(labels - seen["train"])):
            row = next(row for row in rows if row["split"] == split and set(LABELS[kind](row)) & set(unknown))
            raise PalimpsestError(
                f"probe {probe}: row {row['id']} for {split} has the label {unknown[0]!r}, which no row for training "
                f"has. Add such rows, or take those with {', '.join(map(repr, unknown))} out."
            )
        if len(labels) < 2:
            raise PalimpsestError(
                f"probe {probe}: all rows for {split} have the label {min(labels, default='null')!r}; those for "
                f"training have {', '.join(map(repr, sorted(seen['train'])[:5]))} ... Add rows of the others."
            )


def _read(
    wanted: Mapping[str, Any], world: str | Path | None, root: str | Path | None, most: int
) -> Iterable[tuple[str, Row]]:
    probe = wanted["probe"]
    if wanted["source"] == "world":
        if world is None:
            raise PalimpsestError(
                f"probe {probe}: its rows come from a world, and the study has none. Add a `world:` section, or drop "
                "the probe."
            )
        if wanted["kind"] == "question":
            return json_lines(Path(world) / "tasks" / f"{probe}.jsonl")
        seed = json.loads((Path(world) / "world.json").read_text(encoding="utf-8"))["seed"]
        if wanted["kind"] == "head":
            drawn = truths(Path(world), seed, most)
        elif wanted.get("label") == "entity":
            drawn = entities(Path(world), seed, most)
        else:
            drawn = world_probes.rows(wanted, seed, most)
        return ((f"row {row['id']}", row) for row in drawn)
    if wanted["reader"] not in READERS:
        raise PalimpsestError(f"probe {probe}: reader: {wanted['reader']!r} is none of {', '.join(READERS)}.")
    return reader(wanted["reader"])(local_folder(probe, wanted, root), wanted)


def _checked(probe: str, kind: str, rows: Iterable[tuple[str, Row]]) -> Iterator[tuple[str, Row]]:
    """Every row whole, every id once, every sentence in one split and with one label: its first row is kept."""
    ids, sentences = set(), {}
    for place, row in rows:
        if missing := [field for field in ("id", *FIELDS[kind]) if field not in row]:
            raise PalimpsestError(f"probe {probe}: {place}: no field {', '.join(missing)}.")
        if row.get("split", "train") not in SHARES:
            raise PalimpsestError(f"probe {probe}: {place}: split {row['split']!r} is none of {', '.join(SHARES)}.")
        text = row.get("text", row.get("question", row.get("words")))
        if not (text if isinstance(text, str) else " ".join(text)).strip():
            raise PalimpsestError(f"probe {probe}: {place}: an empty sentence. Take it out, or give its words.")
        if row["id"] in ids:
            raise PalimpsestError(f"probe {probe}: {place}: the id {row['id']} stands twice.")
        ids.add(row["id"])
        if kind == "sentence":
            first, label = sentences.setdefault(row["text"], (place, row["label"]))
            if label != row["label"]:
                raise PalimpsestError(
                    f"probe {probe}: {place}: the sentence {row['text']!r} has the label {row['label']!r}, but "
                    f"{label!r} at {first}. Keep one of the two."
                )
            if first != place:
                continue
        yield place, row
