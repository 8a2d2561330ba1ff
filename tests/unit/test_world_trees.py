"""The grammar's analysis: the sentences that it always drew, each with its phrases, tags and dependencies."""

from __future__ import annotations

import hashlib
import random

import pytest

from palimpsest.world.prose import ANIMALS, HUMANS, IRREGULAR_PLURALS, Grammar, is_plural
from palimpsest.world.trees import phrase, word


def digest(lines) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


@pytest.fixture(scope="module")
def trees():
    grammar = Grammar(random.Random(0))
    return [grammar.tree() for _ in range(1000)]


def test_sentences_are_those_that_the_grammar_drew_before_it_analysed_them():
    """Digests of a version without trees: worlds that exist, and the models trained on them, stay as they are."""
    sentences, paragraphs = Grammar(random.Random("0/grammar")), Grammar(random.Random(7))
    assert digest(sentences.sentence() for _ in range(3000)) == (
        "f249a1b5ceb8ebb7c57dfbcab1ceffb7bc8724683463d3a0f6a25e70b7193d81"
    )
    assert digest(paragraphs.paragraph(44) for _ in range(500)) == (
        "db3ca77e41abb43dcd31fc5f9f1b4864347692f428b5c473f665a99f74dd89a1"
    )


def test_dependencies_are_those_of_universal_dependencies():
    """(the dog (that sleeps)) (knew) (that (cats did not run)) ."""
    relative = phrase("SBAR", word("WDT", "that", "nsubj"), phrase("S", phrase("VP", word("VBZ", "sleeps"))))
    subject = phrase("NP", word("DT", "the", "det"), word("NN", "dog"), relative.hung("acl:relcl"))
    ran = phrase("VP", word("VBD", "did", "aux"), word("RB", "not", "advmod"), word("VB", "run"))
    clause = phrase("S", phrase("NP", word("NNS", "cats")).hung("nsubj"), ran)
    said = phrase("SBAR", word("IN", "that", "mark"), clause).hung("ccomp")
    tree = phrase("S", subject.hung("nsubj"), phrase("VP", word("VBD", "knew")), said, word(".", ".", "punct"))
    assert tree.text() == "the dog that sleeps knew that cats did not run ."
    assert tree.dependencies() == [
        (2, "det"), (5, "nsubj"), (4, "nsubj"), (2, "acl:relcl"), (0, "root"), (10, "mark"), (10, "nsubj"),
        (10, "aux"), (10, "advmod"), (5, "ccomp"), (5, "punct"),
    ]  # fmt: skip
    assert tree.head().word == "knew" and tree.depth() == 5


def test_every_word_hangs_on_one_word_and_all_on_the_root(trees):
    for tree in trees:
        heads = [head for head, _ in tree.dependencies()]
        assert heads.count(0) == 1 and len(heads) == len(tree.words())
        for place in range(1, len(heads) + 1):
            steps = 0
            while place:
                place, steps = heads[place - 1], steps + 1
                assert steps <= len(heads)


def test_present_verbs_agree_with_the_subject_that_the_tree_names(trees):
    seen = 0
    for tree in trees:
        subject, verb = tree.part("nsubj"), next(iter(tree.part("head").leaves()))
        if subject is not None and verb.label in ("VBZ", "VBP"):
            assert (verb.label == "VBP") == is_plural(subject), tree.text()
            seen += 1
    assert seen > 200


def test_nouns_have_their_singular_as_lemma(trees):
    for leaf in (leaf for tree in trees for leaf in tree.leaves()):
        if leaf.label == "NNS" and leaf.lemma in ANIMALS + HUMANS and leaf.lemma not in IRREGULAR_PLURALS:
            assert leaf.word in (leaf.lemma + "s", leaf.lemma + "es")
