"""paper.tex, and paper.pdf where LaTeX is installed: a study's figures and tables, and what it found in sentences."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import jinja2

from palimpsest.presentation import (
    captions,
    figures,
    provenance_notes,
    quantities,
    references,
    report,
    style,
    summary,
    tables,
)
from palimpsest.presentation.data import Tables
from palimpsest.presentation.tables.latex import escape, latex
from palimpsest.provenance import PalimpsestError, atomic_file

PACKAGES = "texlive-latex-base texlive-latex-recommended texlive-fonts-recommended"  # Debian's names
MOST_ROWS = 48  # a longer table is left to its CSV file


def write(folder: str | Path, output: str | Path) -> None:
    """Write paper.tex of the results in `folder`; it includes figures/*.pdf, which lie beside it."""
    study = Tables(folder)
    sections = [section for section in report.sections(study) if not section.measured]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(style.REPORTS), undefined=jinja2.StrictUndefined,
        autoescape=False, trim_blocks=True,
        block_start_string=r"\BLOCK{", block_end_string="}", variable_start_string=r"\VAR{", variable_end_string="}",
        comment_start_string=r"\#{", comment_end_string="}", line_comment_prefix="%#",
    )  # fmt: skip
    labels = {label: method for label, method in study.labels.items() if label != "dense"}
    recoveries = sorted({name for names in study.recovered.values() for name in names})
    methods = references.used(list(labels.values()), recoveries)
    text = environment.get_template("paper.tex").render(
        study=escape(study.study),
        models=escape(", ".join(study.models)) or "nothing",
        cells=sum(not cell.is_dense for cell in study.cells),
        methods=escape(", ".join(labels)),
        abstract=[escape(report.unbroken(sentence)) for sentence in summary.headline(study)],
        citations=", ".join(references.cited(method) for method in methods),
        tasks=escape(
            ", ".join(dict.fromkeys(quantities.title_of(task) for task in sorted(set(study.metrics["task"]) - {""})))
        ),
        sections=[_section(section, study) for section in sections],
        versions=escape(", ".join(f"{name} {version}" for name, version in provenance_notes.versions())),
        digests=[(escape(name), digest) for name, digest in provenance_notes.digests(study)],
        references=[
            (key, escape(source)) for key, source in (references.SOURCES[m] for m in methods if m in references.SOURCES)
        ],
    )
    with atomic_file(output) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _section(section: report.Section, study: Tables) -> dict[str, object]:
    drawn = [
        {
            "name": name,
            "title": escape(figures.module(name).TITLE),
            "caption": captions.as_latex(report.unbroken(captions.with_findings(name, study))),
        }
        for name in section.figures
    ]
    made = []
    for name in section.tables:
        rows = tables.make(name, study)
        if len(rows.rows) <= MOST_ROWS:
            note = " Under each number, its 95\\,\\% interval." if name != "claims" else ""
            made.append(
                {"name": name.replace("_", "-"), "title": escape(tables.title(name)), "note": note, "body": latex(rows)}
            )
    named = [rf"Figure~\ref{{fig:{figure['name']}}}" for figure in drawn]
    named += [rf"Table~\ref{{tab:{table['name']}}}" for table in made]
    together = " and ".join(filter(None, [", ".join(named[:-1]), named[-1]])) if named else ""
    return {
        "question": escape(section.question),
        "sentences": [escape(sentence) for sentence in section.sentences],
        "figures": drawn,
        "tables": made,
        "references": together,
    }


def can_typeset() -> bool:
    """Whether pdflatex is installed."""
    return shutil.which("pdflatex") is not None


def typeset(source: str | Path, figures_folder: str | Path, output: str | Path) -> None:
    """Run pdflatex on paper.tex; the same source and figures give the same bytes."""
    if not can_typeset():
        raise PalimpsestError(
            f"{output}: pdflatex is not installed (Debian: apt-get install {PACKAGES}); paper.tex needs no LaTeX."
        )
    with tempfile.TemporaryDirectory(prefix="palimpsest-paper-") as place:
        shutil.copy(source, Path(place) / "paper.tex")
        if Path(figures_folder).is_dir():
            shutil.copytree(figures_folder, Path(place) / "figures", ignore=shutil.ignore_patterns("*.png"))
        environment = os.environ | {
            "SOURCE_DATE_EPOCH": "0",
            "FORCE_SOURCE_DATE": "1",
            "TEXMFOUTPUT": place,
            "max_print_line": "1000",
        }
        command = [
            "pdflatex",
            "-no-shell-escape",
            "-interaction=nonstopmode",
            "-halt-on-error",
            "-file-line-error",
            "paper.tex",
        ]
        for _ in range(3):
            ran = subprocess.run(
                command, cwd=place, env=environment, capture_output=True, text=True, errors="replace", check=False
            )
            if ran.returncode:
                raise PalimpsestError(_complaint(source, ran.stdout))
            if not re.search(r"Rerun to get|There were undefined references", ran.stdout):
                break
        with atomic_file(output) as temporary:
            shutil.copyfile(Path(place) / "paper.pdf", temporary)


def _complaint(source: str | Path, log: str) -> str:
    if missing := re.search(r"File `([^']+)' not found", log):
        what = f"LaTeX does not find {missing[1]}"
        return f"{source}: {what}. A figure must be drawn first; a package is installed by apt-get install {PACKAGES}."
    lines = [line for line in log.splitlines() if re.match(r"\S+:\d+: |! ", line)]
    return f"{source}: pdflatex failed: {' / '.join(lines[:3]) or log[-400:]}"
