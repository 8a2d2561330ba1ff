"""Natural language inference for decoders: does the premise entail the hypothesis? MNLI, SNLI, RTE, QNLI, WNLI, SICK
and CommitmentBank."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from palimpsest.evaluation.readers.files import Rows
from palimpsest.evaluation.readers.records import records

FIELDS = {"premise": ("premise", "sentence1", "question"), "hypothesis": ("hypothesis", "sentence2", "sentence")}


def nli(folder: Path, settings: dict[str, Any]) -> Rows:
    """A row a pair. The task's `classes` maps each class to its word, in the order of lm-eval's options; `numbers`
    lists the classes in the order in which the hub numbers them. Pairs with one premise are one `passage`.

    Reads CSV with the columns premise, hypothesis, label, and the hub's Parquet. Pairs without a label (−1, "-") are
    left out.
    """
    classes: dict[str, str] = settings["classes"]
    known = {name: place for place, name in enumerate(classes)}
    known |= {str(number): known[name] for number, name in enumerate(settings["numbers"])}
    for record in records(folder, settings["files"]):
        if str(record.need("label")) in ("-1", "-"):
            continue
        premise = record.need(*FIELDS["premise"])
        yield record.row(
            passage=premise,
            premise=premise,
            hypothesis=record.need(*FIELDS["hypothesis"]),
            options=list(classes.values()),
            label=record.label(known, "label"),
        )
