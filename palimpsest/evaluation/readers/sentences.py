"""Single sentences with a class: CoLA (is it acceptable?) and SST-2 (is it positive?)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from palimpsest.evaluation.readers.files import Rows
from palimpsest.evaluation.readers.records import records


def sentences(folder: Path, settings: dict[str, Any]) -> Rows:
    """A row a sentence. The task's `classes` maps each class to its word, in the order of lm-eval's options; `numbers`
    lists the classes in the order in which the data numbers them.

    Reads tab-separated values, whose `columns` the task names (the first line may name them too), and the hub's
    Parquet. Sentences without a label (−1, as in the hub's test splits) are left out.
    """
    classes: dict[str, str] = settings["classes"]
    known = {str(number): list(classes).index(name) for number, name in enumerate(settings["numbers"])}
    for record in records(folder, settings["files"], settings["columns"]):
        if str(record.need("label")) == "-1":
            continue
        yield record.row(
            sentence=str(record.need("sentence")).strip(),
            options=list(classes.values()),
            label=record.label(known, "label"),
        )
