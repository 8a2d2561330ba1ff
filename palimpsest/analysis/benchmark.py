"""facts.parquet: who was asked for which fact in which form, and what was said, as a benchmark for estimators of what
compression erased and what it only displaced.

Whoever has another estimator than knowledge.py can run it on this table alone, and compare it with the estimates in
metrics.parquet and, on planted models, with the truth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas

from palimpsest.analysis import about_facts, chance
from palimpsest.analysis.about_facts import Asked
from palimpsest.analysis.answers import VARIANT
from palimpsest.analysis.arms import Arm
from palimpsest.analysis.planted import Plant
from palimpsest.provenance import atomic_file

COLUMNS = {
    "model": "the model; rows of `label` dense and `recovery` none are the control that its cells are compared with",
    "label": "the study's name for a compression method with its options",
    "method": "the compression method",
    "level": "how hard: sparsity, bits, or kept share",
    "seed": "of the calibration sample and the method",
    "recovery": "what was put on the cell to bring knowledge back; `none` is the cell alone",
    "arm": "what the recovery can say on displacement: text, values masked, other text, untrained, consults dense; "
    "empty for a cell alone",
    "seen": "pool of the people that the recovery's text speaks of: R, or U where pools are swapped; empty for a cell "
    "alone",
    "task": "the task that asked",
    "scoring": "`ranked` within the attribute's values, or `generated` from the full vocabulary",
    "question": "the question's id",
    "form": "attribute and form of the question",
    "use": "`select`: forms that select what the dense model knows; `score`: forms that are scored; `held_out_form`: a "
    "form that training never showed, scored too",
    "person": "whom the fact is about; the unit that was randomized into pools, and that a bootstrap draws",
    "attribute": "what is asked",
    "pool": "R, V (early stopping) or U, dealt within strata of frequency and of questions shown",
    "rank": "of the person's frequency in training, 0 the most frequent",
    "exposures": "how often a training document says the fact or answers a question about it",
    "shown": "whether any training document says the fact",
    "questions_shown": "whether training shows questions about the person",
    "values": "how many values the attribute has",
    "value": "the truth",
    "answer": "what was said",
    "correct": "1 where that is the truth",
    "bits": "log2 of the probability of the truth among the values; of ranked tasks",
    "chance": "chance that the answer would be right without knowing the fact (c, for texts that speak of pool R)",
    "known": "whether the dense model is right on all forms that select; of a planted model, whether its reference is",
    "planted": "of a model whose damage was planted: `erased` if it never learned the fact, `displaced` if it did",
}  # fmt: skip


def table(
    asked: Asked,
    scoring: Mapping[str, tuple[str, str]],
    facts: pandas.DataFrame,
    correlated: bool,
    arms: Mapping[str, Arm],
    plants: Sequence[Plant] = (),
) -> pandas.DataFrame:
    """A row a variant and question about one fact, with the columns of COLUMNS.

    asked: from `about_facts.asked`; scoring: from `task_scoring`; facts: the world's facts.parquet.
    """
    known = about_facts.known(asked, plants)
    chances = chance.table(facts, correlated)
    about = facts[["person", "attribute", "pool", "rank", "exposures", "shown", "questions_shown", "values", "value"]]
    tables = []
    for task, (answers, questions) in asked.items():
        asked_for = questions[["question", "use", "person", "attribute"]].merge(about)
        rows = answers.drop(columns="person").merge(asked_for, on="question")
        rows = rows.assign(answer=rows["answer"].str.strip(), scoring=scoring[task][0])
        tables.append(rows.merge(chances, on=["person", "attribute", "answer"], how="left"))
    if not tables:
        return pandas.DataFrame(columns=list(COLUMNS))
    found = pandas.concat(tables, ignore_index=True)
    found["chance"] = found["chance"].fillna(0.0).where(found["shown"])
    keys = ["model", "person", "attribute"]
    known = found[keys].head(0) if known is None else known[keys]
    found["known"] = pandas.MultiIndex.from_frame(found[keys]).isin(pandas.MultiIndex.from_frame(known))
    for name in ("arm", "seen"):
        of = {recovery: arm.name if name == "arm" else arm.seen for recovery, arm in arms.items()}
        found[name] = found["recovery"].map(of).fillna("")
    found["planted"] = ""
    for plant in plants:
        of_model = found["model"] == plant.model
        erased = found["person"].isin(plant.erased)
        found.loc[of_model & erased, "planted"] = "erased"
        if plant.is_displaced:
            found.loc[of_model & ~erased, "planted"] = "displaced"
    found = found[list(COLUMNS)].sort_values([*VARIANT, "task", "question"], ignore_index=True)
    return found.astype({name: "category" for name in COLUMNS if found[name].dtype.kind not in "biuf"})


def description(study: str, found: pandas.DataFrame) -> str:
    """facts.md: what facts.parquet is."""
    variants = len(found[VARIANT].drop_duplicates())
    facts = len(found[["person", "attribute"]].drop_duplicates())
    lines = [
        f"# Facts of the study {study}",
        "",
        f"`facts.parquet` has a row for each of {variants:,} variants and each question that asks for one of "
        f"{facts:,} facts: {len(found):,} rows. A variant is a model, compressed or not, with or without a recovery. "
        "Every fact is known, and how often training said it; people were dealt into pools at random, and the text of "
        "a recovery says nothing of the people of the pool under test: what returns there was still in the weights.",
        "",
        "An estimator of what compression only displaced takes this table and says, for a compressed cell and a "
        "recovery, which share of the lost knowledge returned. The project's own estimates are `returned_unseen` in "
        "`metrics.parquet`; `docs/knowledge.md` tells how they are made.",
        "",
        "| column | meaning |",
        "|---|---|",
        *(f"| `{name}` | {meaning} |" for name, meaning in COLUMNS.items()),
        "",
    ]
    return "\n".join(lines)


def write(results: Path, study: str, found: pandas.DataFrame) -> None:
    """facts.parquet and facts.md in the study's folder."""
    with atomic_file(results / "facts.parquet") as temporary:
        found.to_parquet(temporary, index=False, compression="zstd")
    with atomic_file(results / "facts.md") as temporary:
        temporary.write_text(description(study, found), encoding="utf-8")
