"""report.html: the study's answers in order, on one page that needs nothing but itself."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import jinja2
from markupsafe import Markup

from palimpsest.presentation import (
    available,
    captions,
    figures,
    found_displaced,
    found_of_recoveries,
    found_planted,
    found_probing,
    found_prompts,
    found_represented,
    provenance_notes,
    style,
    summary,
    tables,
)
from palimpsest.presentation.data import Tables
from palimpsest.presentation.tables.web import web
from palimpsest.provenance import PalimpsestError, atomic_file

LARGEST = 10_000_000  # bytes
TEMPLATE = "report.html.j2"


@dataclass
class Section:
    """A question of the report and what answers it."""

    id: str
    name: str  # in the navigation
    question: str
    sentences: list[str]
    figures: list[str] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)
    measured: bool = False  # differs between runs


def sections(study: Tables) -> list[Section]:
    """The report's questions, in order; those that the study has no data for are left out."""
    claims = study.claims
    verdicts = [
        f"{sum(claim['verdict'] == verdict for claim in claims)} {verdict}"
        for verdict in ("supported", "contradicted", "undecided")
    ]
    tally = [f"Of {len(claims)} claims: {', '.join(verdicts)}."] if claims else []
    losses = [*summary.lost(study), *summary.size(study)]
    every = [
        Section(
            "lost",
            "Lost",
            "What was lost, by which method, at which size?",
            losses,
            ["accuracy", "tasks", "language", "knowledge_bits", "flips", "nli_rate"],
            ["cells", "tasks", "flips", "matching"],
        ),
        Section(
            "perplexity",
            "Perplexity",
            "Does perplexity warn of lost knowledge?",
            summary.hidden(study),
            ["knowledge_vs_perplexity"],
        ),
        Section(
            "calibration",
            "Calibration",
            "Which calibration keeps knowledge?",
            summary.calibrated(study),
            ["calibration"],
            ["calibration"],
        ),
        Section(
            "reading", "Reading", "Where do answers come from, and what does length cost?", [], ["origins", "lengths"]
        ),
        Section("bytes", "Bytes", "A small dense model, or a large one compressed?", [], [], ["equal_bytes"]),
        Section(
            "selective",
            "Selective",
            "Is a level better spent on some matrices than on all?",
            found_probing.allocated(study),
            ["selective"],
            ["selective"],
        ),
        Section("models", "Models", "What do the same cells lose on different models?", [], ["models"]),
        Section(
            "judge", "Judge", "What does the judge say, and can it be believed?", summary.judged(study), [], ["judge"]
        ),
        Section(
            "recovery",
            "Came back",
            "What came back, and was only displaced?",
            found_displaced.came_back(study),
            ["displaced", "displaced_frequency", "recovery"],
            ["arms", "recovery"],
        ),
        Section(
            "prompts",
            "Prompts",
            "What do longer soft prompts buy, and choosing among them?",
            [*found_prompts.lengths(study), *found_prompts.dynamic(study)],
            ["prompt_length", "choices"],
            ["choices"],
        ),
        Section(
            "planted",
            "Planted",
            "Does the estimator find what was planted?",
            found_planted.calibration(study),
            ["planted"],
        ),
        Section("cost", "Size", "How large are recoveries?", found_of_recoveries.parameters(study), ["cost"]),
        Section(
            "regimes",
            "Inside",
            "Do recoveries bring attention and activations back?",
            found_of_recoveries.moved(study),
            ["regimes", "heads"],
            ["regimes"],
        ),
        Section(
            "probes",
            "Probes",
            "What do the representations still hold?",
            [
                *found_probing.still_held(study),
                *found_probing.fallen(study),
                *found_probing.algorithms(study),
                *found_displaced.unsaid(study),
            ],
            ["probes", "probe_rate", "probe_selectivity", "probe_layers", "probe_heads", "unsaid"],
            ["probes"],
        ),
        Section(
            "inference",
            "Inference",
            "Do probes and entailment fall together?",
            found_probing.with_inference(study),
            ["probe_nli"],
        ),
        Section(
            "representation",
            "States",
            "What became of the representations?",
            found_represented.found(study),
            ["cka", "logit_lens", "spectra", "sensitivity"],
            ["spectra"],
        ),
        Section(
            "leaks", "Leaks", "Did calibration or recovery see what was asked?", summary.leaked(study), [], ["leaks"]
        ),
        Section("claims", "Claims", "Which claims hold here?", tally, [], ["claims"]),
        Section(
            "latency",
            "Speed",
            "What do recoveries cost in time?",
            found_of_recoveries.seconds(study),
            ["latency"],
            ["latency_pairs", "latency"],
            measured=True,
        ),
        Section(
            "speed", "Bought", "What does compression buy in time and size?", [], ["accuracy_cost"], [], measured=True
        ),
        Section("time", "Time", "Where did the time go?", summary.spent(study), ["time"], ["time"], measured=True),
    ]
    for section in every:
        section.sentences = [unbroken(sentence) for sentence in section.sentences]
    drawable, makeable = available.figures(study), available.tables_of(study)
    for section in every:
        section.figures = [name for name in section.figures if name in drawable]
        section.tables = [name for name in section.tables if name in makeable]
    return [section for section in every if section.figures or section.tables or section.sentences]


def build(folder: str | Path, output: str | Path) -> None:
    """Write the report of the results in `folder`. The same tables give the same bytes, the measured section apart."""
    study = Tables(folder)
    found = sections(study)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(style.REPORTS), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    page = environment.get_template(TEMPLATE).render(
        study=study.study,
        sections=found,
        figures={name: _figure(name, study) for section in found for name in section.figures},
        tables={name: _table(name, study) for section in found for name in section.tables},
        table_titles={name: tables.title(name) for section in found for name in section.tables},
        models=study.models,
        cells=sum(not cell.is_dense for cell in study.cells),
        variants=sum(len(recoveries) for recoveries in study.recovered.values()),
        versions=provenance_notes.versions(),
        digests=provenance_notes.digests(study),
    )
    if len(page.encode()) > LARGEST:
        raise PalimpsestError(
            f"{output}: the page would take {len(page.encode()):,} bytes; a report stays under {LARGEST:,}."
        )
    with atomic_file(output) as temporary:
        temporary.write_text(page, encoding="utf-8")


def without_measurements(page: str) -> str:
    """The page less what differs between runs: what the promise of same bytes is about."""
    return re.sub(r"<section[^>]*data-measured.*?</section>", "", page, flags=re.DOTALL)


def unbroken(text: str) -> str:
    """No line ends between a number and its per cent sign."""
    return text.replace(" %", "\u00a0%")


def _figure(name: str, study: Tables) -> dict[str, object]:
    with style.context():
        drawn = {
            size: Markup(style.svg(figures.draw(name, study, width), f"{name}-{size}"))
            for size, width in (("wide", style.WIDE), ("narrow", style.NARROW))
        }
    words = captions.as_html(captions.with_findings(name, study))
    return drawn | {"title": figures.module(name).TITLE, "caption": Markup(unbroken(words))}


def _table(name: str, study: Tables) -> object:
    made = tables.make(name, study)
    return Markup(web(made, tables.title(name)))
