"""The numbers that figures, tables and the report speak of, by their keys in metrics.parquet (analysis/metrics.py)."""

from __future__ import annotations

from dataclasses import replace

from palimpsest.analysis.classification import CLASSES
from palimpsest.presentation.data import Quantity, Tables

CLOSED_BOOK = Quantity("closed book", "closed_book", "exact_match", subset="shown")
CLOSED_BOOK_RANKED = Quantity("closed book, ranked", "closed_book_mc", "acc", subset="shown")
OPEN_BOOK_ONE = Quantity("open book, one person", "open_book", "exact_match", subset="one")
OPEN_BOOK_THREE = Quantity("open book, three people", "open_book", "exact_match", subset="three")
# With one person, the statement with more of the passage's words is the true one; with two, both have them.
ENTAILMENT = Quantity("entailment, two people", "entailment", "acc", subset="two")
KNOWLEDGE = (CLOSED_BOOK, CLOSED_BOOK_RANKED, OPEN_BOOK_ONE, OPEN_BOOK_THREE, ENTAILMENT)

CLOSED_BOOK_CHANGE = Quantity("closed book, change", "closed_book", "difference", subset="shown")
CLOSED_BOOK_SHOWN = Quantity("questions shown", "closed_book", "exact_match", subset="questions_shown")
CLOSED_BOOK_HELD_OUT = Quantity("questions held out", "closed_book", "exact_match", subset="questions_held_out")
CLOSED_BOOK_NEVER = Quantity("facts never shown", "closed_book", "exact_match", subset="never_shown")
BITS = Quantity("knowledge", "closed_book_mc", "knowledge_bits", subset="shown", percent=False)
POOLS = {
    pool: Quantity(f"known facts, pool {pool}", "closed_book", "known_share", subset=f"pool {pool}") for pool in "RU"
}
DAMAGE = Quantity("damage", "closed_book", "damage", may_lack_verdict=True)
KNOWN_CHANGE = Quantity("change of known facts", "closed_book", "known_change", may_lack_verdict=True)
RETURNED = Quantity("returned unseen", "closed_book", "returned_unseen", may_lack_verdict=True)
RELEARNED = replace(RETURNED, title="re-learned", metric="relearned")
RETURNED_PARTS = (RETURNED, replace(RETURNED, title="not returned", metric="not_returned"))
# The same of recoveries that look at the dense weights.
REPAIRED = tuple(
    replace(RETURNED, title=title.replace("_", " "), metric=title) for title in ("repaired_unseen", "not_repaired")
)
IDP_GAIN = Quantity("over the best prompt", "closed_book", "idp_gain", subset="shown")
SEED_MEAN = Quantity("closed book, mean over seeds", "closed_book", "seed_mean", subset="shown")
LEAKAGE = Quantity("own half over other half", "closed_book", "calibration_leakage", subset="shown")
CONTENT = Quantity("other half over this text", "closed_book", "calibration_content", subset="shown")

SCORES = ("acc", "exact_match", "perplexity")

KINDS = {"prose": "prose without facts", "passages": "passages about invented people", "biographies": "biographies"}
PROPER = {
    "blimp": "BLiMP", "tinystories": "TinyStories", "wikitext2": "WikiText-2", "freebaseqa": "FreebaseQA",
    "nq_open": "NQ-open", "popqa": "PopQA", "web_questions": "WebQuestions", "triviaqa_closed": "TriviaQA, closed book",
    "triviaqa_open": "TriviaQA, open book", "triviaqa_rc_closed": "TriviaQA, its passages withheld", "gsm8k": "GSM8K",
    "open_book_absent": "open book, absent name", "open_book_contradiction": "open book, contradicted",
    "open_book_length": "open book, by length", "closed_book_distracted": "closed book, distracted",
    "mt_bench": "MT-Bench", "vicuna_bench": "Vicuna-bench", "mmlu": "MMLU", "mmlu_generated": "MMLU, letter generated",
    "hellaswag": "HellaSwag", "lambada": "LAMBADA", "truthfulqa_mc1": "TruthfulQA, one true", "pararel": "ParaRel",
    "truthfulqa_mc2": "TruthfulQA, several true", "arc_easy": "ARC, easy", "arc_challenge": "ARC, challenge",
    "winogrande": "WinoGrande", "piqa": "PIQA", "boolq": "BoolQ", "sciq": "SciQ", "mnli": "MNLI", "snli": "SNLI",
    "rte": "RTE", "qnli": "QNLI", "wnli": "WNLI", "sick": "SICK", "cb": "CommitmentBank",
    "cola": "CoLA", "sst2": "SST-2",
    "windows_wikitext2": "WikiText-2, in windows", "windows_c4": "C4, in windows",
    "windows_ptb": "Penn Treebank, in windows",
}  # fmt: skip
WITHOUT_KNOWN_FACTS = ("prose", "passages")
PUBLISHED = "published"  # the scoring of a task's own scorer, where it is flawed and another one stands beside it


def flips(tables: Tables) -> list[tuple[Quantity, Quantity]]:
    """(lost, gained) of every judged task, and of each of open book's subsets in the place of their sum."""
    pairs = []
    found = tables.metrics[tables.metrics["metric"] == "lost"][["task", "subset"]].drop_duplicates()
    order = [quantity.task for quantity in KNOWLEDGE]
    keys = set(found.itertuples(index=False, name=None))
    for task in sorted({task for task, _ in keys}, key=lambda task: (order.index(task) if task in order else 99, task)):
        subsets = ["one", "three"] if {(task, "one"), (task, "three")} <= keys else ["all"]
        for subset in subsets:
            title = title_of(task) + {"one": ", one person", "three": ", three people"}.get(subset, "")
            pairs.append(tuple(Quantity(title, task, metric, subset=subset) for metric in ("lost", "gained")))
    return pairs


def perplexities(tables: Tables, metric: str = "perplexity", subsets: tuple[str, ...] | None = None) -> list[Quantity]:
    """Perplexity (or `relative_perplexity`) of every kind of text; of the whole task where it has no kinds."""
    wanted = tables.metrics["metric"].str.fullmatch(rf"{metric}(_\d+)?")  # perplexity_2048: in windows of 2048 tokens
    rows = tables.metrics[wanted][["task", "subset", "metric"]].drop_duplicates()
    quantities = []
    for task, metric in sorted(set(rows[["task", "metric"]].itertuples(index=False, name=None))):
        kinds = [subset for subset in rows.loc[rows["task"] == task, "subset"] if subset != "all"] or ["all"]
        for kind in sorted(kinds, key=lambda kind: (list(KINDS).index(kind) if kind in KINDS else 99, kind)):
            several = f"{title_of(task)}, {kind}" if len(kinds) > 1 else title_of(task)
            title = title_of(task) if kind == "all" else KINDS.get(kind, several)
            if subsets is None or kind in subsets or kind == "all":
                quantities.append(Quantity(title, task, metric, subset=kind, percent=False))
    return quantities


def title_of(task: str) -> str:
    """A task in words: `closed_book_mc` -> closed book, ranked; `perplexity_wikitext2` -> WikiText-2."""
    known = {quantity.task: quantity.title for quantity in (CLOSED_BOOK, CLOSED_BOOK_RANKED)}
    name = task.removeprefix("perplexity_")
    return known.get(task) or PROPER.get(name) or name.replace("_", " ")


def accuracies(tables: Tables) -> list[Quantity]:
    """Accuracy of every judged task, the world's first, then the others by name; not by the published scorer."""
    known = [quantity for quantity in KNOWLEDGE if tables.has(quantity)]
    metrics = tables.metrics
    rows = metrics[metrics["metric"].isin(("acc", "exact_match")) & (metrics["subset"] == "all")]
    rows = rows[~rows["task"].isin({quantity.task for quantity in KNOWLEDGE}) & (rows["scoring"] != PUBLISHED)]
    others = sorted(set(rows[["task", "metric", "scoring"]].itertuples(index=False, name=None)))
    return known + [Quantity(title_of(task), task, metric, scoring=scoring) for task, metric, scoring in others]


def classified(tables: Tables) -> list[tuple[Quantity, float]]:
    """Accuracy of every task that asks for one of a few classes, entailment first, and what chance answers."""
    found = [(inference(tables, task), 1 / classes) for task, classes in CLASSES.items()]
    return [(quantity, chance) for quantity, chance in found if tables.has(quantity)]


def inference(tables: Tables, task: str) -> Quantity:
    """Accuracy of such a task, on the questions that neither place nor words give away."""
    quantity = ENTAILMENT if task == ENTAILMENT.task else Quantity(title_of(task), task, "acc", subset="all")
    asked = tables.metrics["subset"][tables.metrics["task"] == task]
    return quantity if quantity.subset in set(asked) else replace(quantity, title=title_of(task), subset="all")


def judged(tables: Tables) -> list[Quantity]:
    """Accuracy of every task that cells were compared on, by the strict scoring, over all its questions."""
    metrics = tables.metrics
    compared = set(metrics.loc[metrics["metric"] == "difference", "task"])
    return [quantity for quantity in by_task(tables) if quantity.task in compared and quantity.percent]


def by_task(tables: Tables) -> list[Quantity]:
    """Every metric of every task over all its questions: accuracies by every scoring, perplexities, then measures."""
    rows = tables.metrics
    rows = rows[(rows["subset"] == "all") & (rows["recovery"] == "none") & (rows["label"] == "dense")]
    wanted = (
        rows["metric"].isin(SCORES) | rows["metric"].str.fullmatch(r"perplexity_\d+") | (rows["scoring"] == "measure")
    )
    keys = rows.loc[wanted, ["task", "scoring", "metric"]].drop_duplicates().itertuples(index=False, name=None)
    place = {scoring: number for number, scoring in enumerate(("generated", "ranked", "likelihood", "published"))}
    order = [quantity.task for quantity in KNOWLEDGE]
    return [
        Quantity(title_of(task), task, metric, scoring=scoring, percent=metric in SCORES[:2] and scoring != "published")
        for task, scoring, metric in sorted(
            keys, key=lambda key: (order.index(key[0]) if key[0] in order else 99, key[0], place.get(key[1], 9), key[2])
        )
    ]


def judge_tasks(tables: Tables) -> list[str]:
    """The tasks whose answers a judge has read."""
    return sorted(set(tables.metrics.loc[tables.metrics["scoring"] == "judge", "task"]))


def change_of(quantity: Quantity) -> Quantity:
    """By how much cells differ from the dense model in an accuracy."""
    return replace(quantity, metric="difference", scoring=None)


def p_of(quantity: Quantity) -> Quantity:
    """The p-value of that difference, corrected over the cells."""
    return replace(quantity, metric="p_holm", scoring=None)
