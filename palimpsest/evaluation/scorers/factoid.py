"""Short answers against a question's aliases: a strict verdict, and those of LLM-KICK's two scorers beside it.

Strict: the first line of the answer equals an alias, both normalized as for SQuAD (Rajpurkar et al., arXiv:1606.05250).
The published scorers (VITA-Group/llm-kick) are kept as they are:

- factoid questions: an alias occurs, spaces and case apart, anywhere in the text, *which begins with the prompt*; so a
  question that says its answer is right whatever is generated;
- TriviaQA: the normalized first line contains an alias *or is contained in one*; so an empty answer is right, and so
  are "the", "." and "e".
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from palimpsest.evaluation.scorers.verdict import Verdict
from palimpsest.provenance import PalimpsestError

ARTICLES = re.compile(r"\b(a|an|the)\b")
NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
TRIVIAQA_PUNCTUATION = str.maketrans(dict.fromkeys(string.punctuation + "‘’´`", " "))


def factoid(row: Mapping[str, Any], prompt: str, text: str) -> Verdict:
    """`row` has `aliases`. Measures: `f1`, `contains`."""
    squeezed = _squeezed(prompt + text)
    return _verdict(row, text, published=any(_squeezed(alias) in squeezed for alias in _aliases(row)))


def triviaqa(row: Mapping[str, Any], prompt: str, text: str) -> Verdict:
    """`row` has `aliases`. Measures: `f1`, `contains`."""
    answer = triviaqa_normal(first_line(text))
    aliases = map(triviaqa_normal, _aliases(row))
    return _verdict(row, text, published=any(alias in answer or answer in alias for alias in aliases))


def _verdict(row: Mapping[str, Any], text: str, published: bool) -> Verdict:
    line = first_line(text)
    answer, aliases = squad_normal(line), [squad_normal(alias) for alias in _aliases(row)]
    measures = {
        "f1": max(f1(answer.split(), alias.split()) for alias in aliases),
        "contains": float(any(f" {alias} " in f" {answer} " for alias in aliases)),
    }
    return Verdict(line, answer in aliases, published, measures)


def first_line(text: str) -> str:
    """The first line that says something."""
    return text.strip().split("\n")[0].strip()


def squad_normal(text: str) -> str:
    """Lower case, no punctuation, no articles, single spaces; what is nothing else stays as it is ("A", "?!")."""
    bare = " ".join(ARTICLES.sub(" ", text.lower().translate(NO_PUNCTUATION)).split())
    return bare or text.strip().lower()


def triviaqa_normal(text: str) -> str:
    """As TriviaQA's own script has it: punctuation becomes spaces before articles go."""
    return " ".join(ARTICLES.sub(" ", text.lower().translate(TRIVIAQA_PUNCTUATION)).split())


def f1(answer: Sequence[str], gold: Sequence[str]) -> float:
    """Harmonic mean of the shares of common tokens in the answer and in the gold answer."""
    common = sum((Counter(answer) & Counter(gold)).values())
    return 2 * common / (len(answer) + len(gold)) if common else 0.0


def _squeezed(text: str) -> str:
    return text.strip().replace(" ", "").lower()


def _aliases(row: Mapping[str, Any]) -> list[str]:
    aliases = row.get("aliases")
    whole = isinstance(aliases, list) and all(isinstance(alias, str) and alias.strip() for alias in aliases)
    if not aliases or not whole:
        raise PalimpsestError(
            f"question {row.get('id')!r}: the field 'aliases' is {aliases!r}; it must be a list of right answers, none "
            "of them empty."
        )
    return aliases
