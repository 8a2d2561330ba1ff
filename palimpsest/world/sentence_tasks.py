"""Ten tasks about sentences of the grammar, after SentEval's probing tasks (Conneau et al. 2018, arXiv:1805.01070).

A task takes a sentence and yields it with its label, or something made of it, or nothing. No label should be guessed
from a cue that is beside the point: a sentence says in what it has to be like sentences of other labels
(`Candidate.alike`), which probes.py sees to. Where the grammar has no such thing as a task asks for, the task says what
stands for it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from palimpsest.world.prose import PLANTS, TOOLS, is_plural, plural
from palimpsest.world.trees import Tree, phrase

LENGTHS = {5: "4-5", 6: "6", 8: "7-8", 10: "9-10", 13: "11-13", 99: "14-"}  # words, the full stop included
CONTENT = set("dog cat wolf owl teacher doctor king hunter garden forest bridge castle small old happy brave".split())
INANIMATE = PLANTS + TOOLS
TENSES = {"VBD": "PAST", "VBZ": "PRES", "VBP": "PRES"}


@dataclass(frozen=True)
class Candidate:
    """A sentence with its label.

    `alike` are the things that it must share with as many sentences of other labels, `key` is the verb to which the
    labels of the control task are keyed, that of the main clause if it is not given.
    """

    text: str
    label: str
    alike: tuple = ()
    key: str = ""


def main_verb(tree: Tree) -> str:
    """The verb of the main clause, of the first of two: "be" in definitions."""
    return _verbs(_clause(tree)).head().lemma


def sentence_length(tree: Tree, rng: random.Random) -> Iterator[Candidate]:
    """Number of words, in six classes."""
    length = len(tree.words())
    yield Candidate(tree.text(), next(name for most, name in LENGTHS.items() if length <= most))


def word_content(tree: Tree, rng: random.Random) -> Iterator[Candidate]:
    """Which one of sixteen words the sentence has."""
    here = [word for word in tree.words() if word in CONTENT]
    if len(here) == 1:
        yield Candidate(tree.text(), here[0])


def tree_depth(tree: Tree, rng: random.Random) -> Iterator[Candidate]:
    """Depth of the tree of phrases; alike in length and in the words that make phrases: where they hang differs."""
    if 5 <= tree.depth() <= 7:
        tags = [leaf.label for leaf in tree.leaves()]
        that = tree.words().count("that")
        alike = (len(tags) // 2, that, tags.count("IN") + tags.count("WDT") - that, tags.count("CC"))
        yield Candidate(tree.text(), str(tree.depth()), alike)


def top_constituents(tree: Tree, rng: random.Random) -> Iterator[Candidate]:
    """The phrases right below the root; alike in length and in the number of verbs."""
    alike = (len(tree.words()) // 2, len(_tenses(tree)))
    yield Candidate(tree.text(), " ".join(part.label for part in tree.parts), alike)


def bigram_shift(tree: Tree, rng: random.Random) -> Iterator[Candidate]:
    """Original, or Inverted: two neighbouring words have changed places."""
    words = tree.words()
    if rng.random() < 0.5:
        yield Candidate(tree.text(), "O", (len(words),))
        return
    place = rng.randrange(len(words) - 2)  # the full stop stays
    words[place : place + 2] = words[place + 1], words[place]
    yield Candidate(" ".join(words), "I", (len(words),))


def past_present(tree: Tree, rng: random.Random) -> Iterator[Candidate]:
    """Tense of the main verb, beside a relative clause of either tense, and without a word for the time."""
    tenses = _tenses(tree)
    if len(tenses) == 2 and tree.part("conj", "advcl", "ccomp", "advmod", "cop") is None:
        main = _tenses(_verbs(tree))[0]
        tenses.remove(main)
        yield Candidate(tree.text(), main, (tenses[0], len(tree.words())))


def subj_number(tree: Tree, rng: random.Random) -> Iterator[Candidate]:
    """Number of the main clause's subject, beside an object of either number and a verb that shows none."""
    target = tree.part("obj")
    if target is not None and _tenses(_verbs(tree)) == ["PAST"]:
        yield Candidate(tree.text(), _number(tree.part("nsubj")), (_number(target), len(tree.words())))


def obj_number(tree: Tree, rng: random.Random) -> Iterator[Candidate]:
    """Number of the main clause's object, beside a subject of either number."""
    target = tree.part("obj")
    if target is not None:
        yield Candidate(tree.text(), _number(target), (_number(tree.part("nsubj")), len(tree.words())))


def odd_man_out(tree: Tree, rng: random.Random) -> Iterator[Candidate]:
    """Original, or Changed: a plant or a tool is the subject, whose noun another has replaced.

    Alike in how many of the subject and the object are no living beings: one.
    """
    subject, target = tree.part("nsubj"), tree.part("obj")
    if target is None:
        return
    alike = (len(tree.words()), is_plural(subject))
    if target.head().lemma in INANIMATE:
        yield Candidate(tree.text(), "O", alike)
    else:
        noun = rng.choice(INANIMATE)
        other = replace(subject.head(), word=plural(noun) if is_plural(subject) else noun)
        parts = [other if part.relation == "head" else part for part in subject.parts]
        changed = phrase("NP", *parts).hung("nsubj")
        yield Candidate(phrase("S", *(changed if part is subject else part for part in tree.parts)).text(), "C", alike)


def coordination_inversion(tree: Tree, rng: random.Random) -> Iterator[Candidate]:
    """Original, or Inverted: the two clauses that `that` joins have changed places.

    Not those joined by `and`: the grammar draws both alike, so that their order says nothing.
    """
    said = tree.part("ccomp")
    if said is None:
        return
    main = phrase("S", *(part for part in tree.parts if part.relation not in ("ccomp", "punct")))
    joined, clause = said.parts
    order = (main, joined, clause) if rng.random() < 0.5 else (clause, joined, main)
    text = " ".join(part.text() for part in (*order, tree.part("punct")))
    yield Candidate(text, "O" if order[0] is main else "I", (len(text.split()),), main_verb(clause))


Task = Callable[[Tree, random.Random], Iterator[Candidate]]
TASKS: dict[str, Task] = {
    task.__name__: task
    for task in (
        sentence_length, word_content, tree_depth, top_constituents, bigram_shift, past_present, subj_number,
        obj_number, odd_man_out, coordination_inversion,
    )
}  # fmt: skip


def _clause(tree: Tree) -> Tree:
    first = tree.part("head")
    return first if first.label == "S" else tree


def _verbs(clause: Tree) -> Tree:
    return next(part for part in clause.parts if part.label == "VP")


def _tenses(tree: Tree) -> list[str]:
    """Of its finite verbs, in their order."""
    return [TENSES[leaf.label] for leaf in tree.leaves() if leaf.label in TENSES]


def _number(noun_phrase: Tree) -> str:
    return "NNS" if is_plural(noun_phrase) else "NN"
