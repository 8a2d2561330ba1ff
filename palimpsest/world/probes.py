"""What linguistic probes read: sentences of the grammar with their labels.

Ten tasks after SentEval's probing tasks (Conneau et al. 2018, arXiv:1805.01070), and tags, dependencies and heads for
probes of words, pairs of words and trees. No label can be guessed from a cue that is beside the point: the labels are
equally frequent at every length of sentence, and where one word would give a label away, among sentences with that
word too (`Candidate.alike`). Where the grammar has no such thing as a task asks for, the task says what stands for it.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from palimpsest.world.prose import PLANTS, TOOLS, Grammar, is_plural, plural
from palimpsest.world.trees import Tree, phrase

Row = dict[str, Any]
BATCH, BATCHES = 2000, 20  # sentences are drawn until there are enough of them, or so many
SPLITS = {"train": 0.6, "validation": 0.7, "test": 1.0}  # up to this share of the digests
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


def rows(probe: Mapping[str, Any], seed: int, most: int) -> list[Row]:
    """At most so many rows of a probe (its name and kind), about the same number of every label."""
    if probe["kind"] in OTHER_KINDS:
        return [OTHER_KINDS[probe["kind"]](tree) for tree in _sentences(seed, most)]
    task, found = TASKS[probe["probe"]], []
    for batch in _batches(seed):
        for tree in batch:
            for candidate in task(tree, _random(tree)):
                found.append((candidate, tree))
        chosen = _balanced(found, most)
        if len(chosen) >= 0.98 * most:  # a label short of one sentence is no reason to draw on
            break
    named = sorted(chosen, key=lambda each: _digest(each[1]))
    splits = _splits([candidate.label for candidate, _ in named])
    return [
        {
            "id": _digest(tree)[:12],
            "text": candidate.text,
            "label": candidate.label,
            "split": split,
            "key": candidate.key or main_verb(tree),
        }
        for (candidate, tree), split in zip(named, splits, strict=True)
    ]


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


def tags(tree: Tree) -> Row:
    """A row of kind word: the part of speech of every word."""
    return {**_name(tree), "words": tree.words(), "labels": [leaf.label for leaf in tree.leaves()]}


def heads(tree: Tree) -> Row:
    """A row of kind tree: the head of every word."""
    return {**_name(tree), "words": tree.words(), "heads": [head for head, _ in tree.dependencies()]}


def relation(tree: Tree) -> Row:
    """A row of kind edge: a word, its head, and the relation between them; one of the sentence's relations."""
    edges = defaultdict(list)
    for place, (head, name) in enumerate(tree.dependencies()):
        if name not in ("root", "punct"):
            edges[name].append([[place, place + 1], [head - 1, head]])
    rng = _random(tree)
    name = rng.choice(sorted(edges))
    return {**_name(tree), "words": tree.words(), "spans": rng.choice(edges[name]), "label": name}


OTHER_KINDS: dict[str, Callable[[Tree], Row]] = {"word": tags, "edge": relation, "tree": heads}


def _batches(seed: int) -> Iterator[list[Tree]]:
    """Sentences of the grammar, no two of them the same."""
    grammar, seen = Grammar(random.Random(f"{seed}/probes")), set()
    for _ in range(BATCHES):
        drawn = {tree.text(): tree for tree in (grammar.tree() for _ in range(BATCH))}
        yield [tree for text, tree in drawn.items() if text not in seen]
        seen |= set(drawn)


def _sentences(seed: int, most: int) -> list[Tree]:
    found = []
    for batch in _batches(seed):
        found += batch
        if len(found) >= most:
            break
    return found[:most]


def _balanced(found: list[tuple[Candidate, Tree]], most: int) -> list[tuple[Candidate, Tree]]:
    """As many of each label as of any other among those that are alike, at most `most` in all."""
    labels = sorted({candidate.label for candidate, _ in found})
    groups: dict[tuple, dict[str, list]] = defaultdict(lambda: defaultdict(list))
    for candidate, tree in found:
        groups[candidate.alike][candidate.label].append((candidate, tree))
    sizes = {alike: min(len(group[label]) for label in labels) for alike, group in groups.items()}
    room = most // len(labels)
    share = min(1.0, room / max(1, sum(sizes.values())))
    counts = {alike: int(size * share) for alike, size in sizes.items()}
    for alike in sorted(sizes, key=lambda alike: counts[alike] - sizes[alike] * share)[: room - sum(counts.values())]:
        counts[alike] = min(counts[alike] + 1, sizes[alike])
    return [each for alike, count in counts.items() for label in labels for each in groups[alike][label][:count]]


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


def _splits(labels: list[str]) -> list[str]:
    """The split of each sentence, which stand in the order of their digests: of every label the same shares."""
    sizes, seen = Counter(labels), Counter()
    splits = []
    for label in labels:
        splits.append(_split(seen[label] / sizes[label]))
        seen[label] += 1
    return splits


def _split(share: float) -> str:
    return next(split for split, most in SPLITS.items() if share < most)


def _name(tree: Tree) -> Row:
    """The id and the split of a sentence."""
    digest = _digest(tree)
    return {"id": digest[:12], "split": _split(int(digest[:8], 16) / 2**32)}


def _random(tree: Tree) -> random.Random:
    return random.Random(_digest(tree))


def _digest(tree: Tree) -> str:
    return hashlib.sha256(tree.text().encode()).hexdigest()
