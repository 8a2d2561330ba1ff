"""The tasks that ask for one of a few classes: entailment first, and what chance answers of each. Plain Python."""

from __future__ import annotations

# task -> classes
INFERENCE = {"entailment": 2, "mnli": 3, "snli": 3, "rte": 2, "qnli": 2, "wnli": 2, "sick": 3, "cb": 3}
SENTENCES = {"cola": 2, "sst2": 2}
CLASSES = INFERENCE | SENTENCES
# With one person in the passage, overlapping words give the answer away: two are what is asked.
SUBSETS = {"entailment": "two"}
