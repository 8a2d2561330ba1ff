"""Where the rows of a task come from. A reader takes a folder (of PALIMPSEST_DATA or of the hub) and the task's
settings, `metadata.palimpsest`, and yields rows with their file and line."""

from __future__ import annotations

from palimpsest.evaluation.readers.blimp import blimp
from palimpsest.evaluation.readers.chat import chat
from palimpsest.evaluation.readers.corpus import corpus
from palimpsest.evaluation.readers.factoid import factoid, freebaseqa, triviaqa
from palimpsest.evaluation.readers.gsm8k import gsm8k
from palimpsest.evaluation.readers.mmlu import mmlu
from palimpsest.evaluation.readers.nli import nli
from palimpsest.evaluation.readers.pararel import pararel
from palimpsest.evaluation.readers.plain import jsonl, text
from palimpsest.evaluation.readers.ranked import arc, boolq, hellaswag, lambada, piqa, sciq, winogrande
from palimpsest.evaluation.readers.sentences import sentences
from palimpsest.evaluation.readers.summaries import summaries
from palimpsest.evaluation.readers.truthfulqa import truthfulqa

GENERATED = {
    "factoid": factoid, "freebaseqa": freebaseqa, "triviaqa": triviaqa, "gsm8k": gsm8k, "summaries": summaries,
    "chat": chat,
}  # fmt: skip
RANKED = {
    "arc": arc, "blimp": blimp, "boolq": boolq, "hellaswag": hellaswag, "lambada": lambada, "mmlu": mmlu, "nli": nli,
    "pararel": pararel, "piqa": piqa, "sciq": sciq, "sentences": sentences, "truthfulqa": truthfulqa,
    "winogrande": winogrande,
}  # fmt: skip
READERS = {"jsonl": jsonl, "text": text, "corpus": corpus} | RANKED | GENERATED
