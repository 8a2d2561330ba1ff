"""MMLU (Hendrycks et al., arXiv:2009.03300): 57 subjects in four disciplines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from palimpsest.evaluation.readers.files import Rows
from palimpsest.evaluation.readers.records import records
from palimpsest.provenance import PalimpsestError

DISCIPLINES = {
    "Humanities": """formal_logic high_school_european_history high_school_us_history high_school_world_history
        international_law jurisprudence logical_fallacies moral_disputes moral_scenarios philosophy prehistory
        professional_law world_religions""",
    "Social Science": """econometrics high_school_geography high_school_government_and_politics
        high_school_macroeconomics high_school_microeconomics high_school_psychology human_sexuality
        professional_psychology public_relations security_studies sociology us_foreign_policy""",
    "STEM": """abstract_algebra anatomy astronomy college_biology college_chemistry college_computer_science
        college_mathematics college_physics computer_security conceptual_physics electrical_engineering
        elementary_mathematics high_school_biology high_school_chemistry high_school_computer_science
        high_school_mathematics high_school_physics high_school_statistics machine_learning""",
    "Other": """business_ethics clinical_knowledge college_medicine global_facts human_aging management marketing
        medical_genetics miscellaneous nutrition professional_accounting professional_medicine virology""",
}
DISCIPLINE = {subject: name for name, subjects in DISCIPLINES.items() for subject in subjects.split()}
LETTERS = ["A", "B", "C", "D"]
COLUMNS = ["question", *LETTERS, "answer"]  # of the authors' CSV files, which have no header


def mmlu(folder: Path, settings: dict[str, Any]) -> Rows:
    """A row a question: its `choices` in words, `options` the letters, subset the discipline, subject the subject.

    Reads the authors' CSV files, one a subject, or the hub's Parquet (cais/mmlu, `all`).
    """
    for record in records(folder, settings["files"], COLUMNS):
        subject = record.get("subject") or record.name.rpartition("_")[0]
        if subject not in DISCIPLINE:
            raise PalimpsestError(f"{record.place}: {subject!r} is none of MMLU's 57 subjects.")
        label = record.label({str(value): n % 4 for n, value in enumerate([0, 1, 2, 3, *LETTERS])}, "answer")
        choices = record.get("choices") or [record.need(letter) for letter in LETTERS]
        if len(choices) != 4:
            raise PalimpsestError(f"{record.place}: {len(choices)} choices; a question of MMLU has four.")
        yield record.row(
            id=f"{subject}/{record.number}",
            subset=DISCIPLINE[subject],
            subject=subject,
            about=subject.replace("_", " "),
            question=record.need("question"),
            choices=choices,
            options=LETTERS,
            label=label,
        )
