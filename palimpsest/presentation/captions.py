"""The captions of figures, one source for Snakemake's report (reStructuredText), the HTML report and the paper."""

from __future__ import annotations

import html
import re

from palimpsest.presentation import names, style
from palimpsest.presentation.data import Tables
from palimpsest.presentation.tables.latex import escape
from palimpsest.provenance import PalimpsestError

CODE = re.compile(r"``(.+?)``")


def caption(name: str) -> str:
    """The caption of a figure as it is written in reports/captions/."""
    names.check_figure(name)
    path = style.REPORTS / "captions" / f"{name}.rst"
    if not path.exists():
        raise PalimpsestError(f"{path}: there is no such caption; every figure has one.")
    return " ".join(path.read_text(encoding="utf-8").split())


def with_findings(name: str, tables: Tables) -> str:
    """The caption, how many questions are behind the figure, and what it shows where code can say that."""
    from palimpsest.presentation import found_of_recoveries, found_prompts, summary

    finders = {
        "regimes": found_of_recoveries.regimes,
        "prompt_length": lambda tables: " ".join(found_prompts.lengths(tables)),
        "choices": found_prompts.gains,
    }
    found = finders[name](tables) if name in finders else ""
    return " ".join(filter(None, [caption(name), summary.counts(tables, name), found]))


def as_html(text: str) -> str:
    return CODE.sub(r"<code>\1</code>", html.escape(text))


def as_latex(text: str) -> str:
    return CODE.sub(lambda match: rf"\texttt{{{match[1]}}}", escape(text))
