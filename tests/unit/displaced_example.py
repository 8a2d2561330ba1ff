"""Made-up metrics of what recoveries returned, for the tests of the presentation. Nothing here was measured."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas
import presentation_example as example

STRATA = ("exposures 3-29", "exposures 30-88", "exposures 89-1022")
# recovery -> arm, share of the damage that it returns unseen, share that it learns again
RECOVERIES = {
    "lora-r4": ("text", 0.65, 0.25), "prompt-32": ("text", 0.3, 0.1), "prompt-8": ("text", -0.08, 0.12),
    "idp": ("text", 0.32, 0.08), "lora-masked": ("values masked", 0.5, 0.02),
    "prompt-untrained": ("untrained", -0.2, 0.01),
    "eora-r4": ("consults dense", 0.9, 0.0), "distill-r4": ("consults dense", 0.7, 0.2),
}  # fmt: skip
SWAPPED = "lora-r4-swapped"
CELLS = {("magnitude", "0.6"): 0.17, ("rtn", "2"): 0.45, ("svd", "k0.6"): 0.07}
NOTHING = float("nan")
Row = tuple[str, str, str, float, float]  # task, subset, metric, value, half of the interval


def of_cell(damage: float) -> Iterator[Row]:
    for task in ("closed_book", "closed_book_mc"):
        for subset in ("all", "pool R", "pool U"):
            yield task, subset, "damage", damage, 0.03
        for stratum, more in zip(STRATA, (1.5, 1.0, 0.5), strict=True):
            yield task, stratum, "damage", more * damage, 0.05
    for layer, read in ((2, 0.3), (4, 0.6)):
        yield "attribute_value", f"layer {layer}", "unsaid_read", read, 0.08
        yield "attribute_value", f"layer {layer}", "unsaid_chance", 0.07, NOTHING


def of_recovery(recovery: str, damage: float, on_dense: bool = False) -> Iterator[Row]:
    arm, returned, relearned = RECOVERIES[recovery]
    yield "", arm, "arm", 0.0, NOTHING
    apart = arm == "consults dense"
    for task, less in (("closed_book", 0.04), ("closed_book_mc", 0.0)):
        change = 0.003 if on_dense else damage * returned
        for subset in ("all", "pool U"):
            yield task, subset, "known_change", change, 0.02
        if on_dense:
            continue
        parts = {
            "returned_unseen": returned - less,
            "relearned": relearned,
            "not_returned": 1 - returned - relearned + less,
        }
        names = {
            "returned_unseen": "repaired_unseen",
            "relearned": "repaired_relearned",
            "not_returned": "not_repaired",
        }
        for subset, more in (("all", 1), *zip(STRATA, (1.5, 1.0, 0.5), strict=True)):
            verdict = more * damage >= 0.1
            for metric, value in parts.items():
                name = names[metric] if apart else metric
                yield task, subset, name, value if verdict else NOTHING, 0.12 if subset == "all" else 0.25


def metrics() -> pandas.DataFrame:
    """Three cells with eight recoveries, one of them cross-fitted, and two on the dense model."""
    columns = ["task", "subset", "metric", "value", "half"]
    tables = []

    def add(variant, rows):
        table = pandas.DataFrame(list(rows), columns=columns).assign(**dict(zip(example.VARIANT, variant, strict=True)))
        tables.append(table)

    def shares(known):
        return [
            (task, f"pool {pool}", "known_share", known, 0.03)
            for task in ("closed_book", "closed_book_mc")
            for pool in "RVU"
        ]

    dense = ("atlas", "dense", "dense", "full", 0)
    add((*dense, "none"), [*shares(0.99), ("closed_book", "shown", "exact_match", 0.98, 0.01)])
    for recovery in ("lora-r4", "prompt-32"):
        add((*dense, recovery), [*shares(0.99), *of_recovery(recovery, 0.0, on_dense=True)])
    for (label, level), damage in CELLS.items():
        cell = ("atlas", label, label, level, 0)
        add((*cell, "none"), [*shares(0.99 - damage), *of_cell(damage)])
        for recovery, (_, returned, _) in RECOVERIES.items():
            add((*cell, recovery), [*shares(0.99 - damage * (1 - returned)), *of_recovery(recovery, damage)])
        add((*cell, SWAPPED), [*shares(0.9), ("", "text", "arm", 1.0, NOTHING),
                               ("closed_book", "pool R", "returned_unseen", 0.6, 0.1)])  # fmt: skip
    table = pandas.concat(tables, ignore_index=True)
    table["low"], table["high"] = table["value"] - table["half"], table["value"] + table["half"]
    return table.drop(columns="half").assign(scoring="", layer="", n=300)


def write(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    metrics().to_parquet(folder / "metrics.parquet")
    variants = metrics()[example.VARIANT].drop_duplicates()
    sizes = {"parameters_extra": 4096, "bytes_total": 2e6}
    measured = [variants.assign(metric=metric, value=value) for metric, value in sizes.items()]
    pandas.concat(measured).to_parquet(folder / "measurements.parquet")
    return folder
