"""How generated answers are judged, where lm-eval's `exact_match` does not do: a task names one of these.

Where the scorer that was published with a task is flawed, both verdicts are kept: `correct` is the strict one. This
is imported by the checks of a study: whatever takes long to import, a scorer imports when it is called.
"""

from __future__ import annotations

from palimpsest.evaluation.scorers.biography import biography
from palimpsest.evaluation.scorers.factoid import factoid, triviaqa
from palimpsest.evaluation.scorers.free_text import chat, summary
from palimpsest.evaluation.scorers.letter import letter
from palimpsest.evaluation.scorers.sources import value_source
from palimpsest.evaluation.scorers.verdict import Scorer

SCORERS: dict[str, Scorer] = {
    "biography": biography,
    "chat": chat,
    "factoid": factoid,
    "letter": letter,
    "summary": summary,
    "triviaqa": triviaqa,
    "value_source": value_source,
}
