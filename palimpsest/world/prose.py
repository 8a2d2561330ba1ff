"""Prose without facts: a small grammar with agreement, tense, recursion, coordination, negation and hypernyms.

It names no person and states nothing that could be learned by heart, so a model's perplexity on it shows the
language that it has kept and not the facts.
"""

from __future__ import annotations

import random

from palimpsest.world.trees import Tree, phrase, word

ANIMALS = """
    dog cat horse cow goat sheep fox wolf bear mouse rabbit duck goose hen owl crow frog bee ant otter lamb calf
    crane heron badger swan
""".split()
PLANTS = "rose tulip oak pine fern moss lily birch maple willow cedar daisy poppy thistle".split()
TOOLS = "hammer saw spade rake knife needle bucket ladder rope wheel shovel chisel lantern basket".split()
HUMANS = """
    teacher child doctor guard neighbour cousin stranger painter judge dancer hunter singer poet king queen
    knight pupil baron monk
""".split()
HYPERNYMS = {**dict.fromkeys(ANIMALS, "animal"), **dict.fromkeys(PLANTS, "plant"), **dict.fromkeys(TOOLS, "tool")}
IRREGULAR_PLURALS = {
    "sheep": "sheep",
    "mouse": "mice",
    "goose": "geese",
    "wolf": "wolves",
    "knife": "knives",
    "child": "children",
}
ADJECTIVES = """
    small big old young quiet happy tired clever lazy brave gentle hungry slow quick proud cold warm wet careful
    noisy silent pale round strange
""".split()
PLACES = "garden forest river field market barn bridge castle meadow harbour valley cellar tower orchard".split()
# base, third person singular, past
TRANSITIVE = [
    ("see", "sees", "saw"),
    ("follow", "follows", "followed"),
    ("help", "helps", "helped"),
    ("watch", "watches", "watched"),
    ("find", "finds", "found"),
    ("chase", "chases", "chased"),
    ("admire", "admires", "admired"),
    ("fear", "fears", "feared"),
    ("carry", "carries", "carried"),
    ("love", "loves", "loved"),
    ("forget", "forgets", "forgot"),
    ("touch", "touches", "touched"),
]
INTRANSITIVE = [
    ("sleep", "sleeps", "slept"),
    ("run", "runs", "ran"),
    ("sing", "sings", "sang"),
    ("wait", "waits", "waited"),
    ("laugh", "laughs", "laughed"),
    ("fall", "falls", "fell"),
    ("swim", "swims", "swam"),
    ("rest", "rests", "rested"),
]
CLAUSE_VERBS = [
    ("think", "thinks", "thought"),
    ("hope", "hopes", "hoped"),
    ("say", "says", "said"),
    ("know", "knows", "knew"),
]
TIMES = {"present": ["today", "often", "now"], "past": ["yesterday", "once"]}
PREPOSITIONS = "near behind under beside inside".split()


def plural(noun: str) -> str:
    if noun in IRREGULAR_PLURALS:
        return IRREGULAR_PLURALS[noun]
    if noun.endswith(("s", "x", "ch", "sh")):
        return noun + "es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + "s"


DETERMINERS = {True: ["the", "these", "some", "many", "two"], False: ["the", "this", "one", "every"]}  # many or one
TAGS = {"many": "JJ", "two": "CD", "one": "CD"}  # of the words before a noun that are not DT
FULL_STOP = word(".", ".", "punct")


class Grammar:
    """Draws sentences with their analysis; `rng` decides everything."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def pick(self, options: list):
        return options[int(self.rng.random() * len(options))]

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def noun_phrase(self, animate: bool = True, depth: int = 0) -> Tree:
        noun = self.pick(ANIMALS + HUMANS if animate else PLANTS + TOOLS)
        many = self.chance(0.4)
        determiner = self.pick(DETERMINERS[many])
        adjective = word("JJ", self.pick(ADJECTIVES), "amod") if self.chance(0.35) else None
        after = None
        if depth < 2 and self.chance(0.2):
            preposition, place = self.pick(PREPOSITIONS), self.pick(PLACES)
            where = phrase("NP", word("DT", "the", "det"), word("NN", place))
            after = phrase("PP", word("IN", preposition, "case"), where).hung("nmod")
        elif depth < 2 and self.chance(0.15):
            parts = self.verb_phrase(many, self.pick(["present", "past"]), depth + 1)
            after = phrase("SBAR", word("WDT", "that", "nsubj"), phrase("S", *parts)).hung("acl:relcl")
        head = word("NNS" if many else "NN", plural(noun) if many else noun, lemma=noun)
        return phrase("NP", word(TAGS.get(determiner, "DT"), determiner, _relation(determiner)), adjective, head, after)

    def verb(self, forms: tuple[str, str, str], many: bool, tense: str, negated: bool) -> Tree:
        base, singular, past = forms
        tag = "VBD" if tense == "past" else "VBP" if many else "VBZ"
        if negated:
            helper = "did" if tense == "past" else "do" if many else "does"
            verbs = word(tag, helper, "aux", lemma="do"), word("RB", "not", "advmod"), word("VB", base)
            return phrase("VP", *verbs)
        return phrase("VP", word(tag, past if tense == "past" else base if many else singular, lemma=base))

    def verb_phrase(self, many: bool, tense: str, depth: int) -> tuple[Tree, ...]:
        """The verb, and its object if it has one."""
        negated = self.chance(0.15)
        if self.chance(0.45):
            return (self.verb(self.pick(INTRANSITIVE), many, tense, negated),)
        target = self.noun_phrase(animate=self.chance(0.7), depth=depth + 1).hung("obj")
        return self.verb(self.pick(TRANSITIVE), many, tense, negated), target

    def clause(self, depth: int = 0) -> Tree:
        tense = self.pick(["present", "past"])
        subject = self.noun_phrase(depth=depth).hung("nsubj")
        many = is_plural(subject)
        if depth < 2 and self.chance(0.12):
            verb = self.verb(self.pick(CLAUSE_VERBS), many, tense, False)
            said = phrase("SBAR", word("IN", "that", "mark"), self.clause(depth + 1))
            return phrase("S", subject, verb, said.hung("ccomp"))
        parts = self.verb_phrase(many, tense, depth)
        time = phrase("ADVP", word("RB", self.pick(TIMES[tense]))).hung("advmod") if self.chance(0.3) else None
        return phrase("S", subject, *parts, time)

    def definition(self) -> Tree:
        noun, other = self.pick(list(HYPERNYMS)), self.pick(list(HYPERNYMS))
        every = self.chance(0.5) or HYPERNYMS[noun] == HYPERNYMS[other]
        kind = HYPERNYMS[noun if every else other]
        subject = phrase("NP", word("DT", "every" if every else "no", "det"), word("NN", noun))
        what = phrase("NP", word("DT", "an" if kind == "animal" else "a", "det"), word("NN", kind))
        return phrase("S", subject.hung("nsubj"), phrase("VP", word("VBZ", "is", lemma="be")).hung("cop"), what)

    def tree(self) -> Tree:
        """A sentence with its analysis."""
        if self.chance(0.1):
            return _ended(self.definition())
        if self.chance(0.15):
            first, joined, second = self.clause(1), self.pick(["and", "but", "while"]), self.clause(1)
            if joined == "while":
                other = phrase("SBAR", word("IN", joined, "mark"), second).hung("advcl")
            else:
                other = phrase("CONJP", word("CC", joined, "cc"), second).hung("conj")
            return phrase("S", first, other, FULL_STOP)
        return _ended(self.clause())

    def sentence(self) -> str:
        return self.tree().text()

    def paragraph(self, words: int) -> str:
        """Sentences of together at most `words` tokens (at least one sentence)."""
        text = self.sentence()
        while len(text.split()) < words * 0.8:
            candidate = f"{text} {self.sentence()}"
            if len(candidate.split()) > words:
                break
            text = candidate
        return text


def is_plural(noun_phrase: Tree) -> bool:
    return noun_phrase.head().label == "NNS"


def _relation(determiner: str) -> str:
    return {"DT": "det", "JJ": "amod", "CD": "nummod"}[TAGS.get(determiner, "DT")]


def _ended(clause: Tree) -> Tree:
    return Tree("S", (*clause.parts, FULL_STOP))


def vocabulary() -> set[str]:
    """Every word that the grammar can say."""
    nouns = ANIMALS + PLANTS + TOOLS + HUMANS
    words = set(nouns) | {plural(noun) for noun in nouns} | set(HYPERNYMS.values())
    words |= set(ADJECTIVES) | set(PLACES) | set(PREPOSITIONS)
    words |= {form for verb in TRANSITIVE + INTRANSITIVE + CLAUSE_VERBS for form in verb}
    words |= {time for times in TIMES.values() for time in times}
    words |= set("the these some many two this one every that did do does not is an a no and but while .".split())
    return words
