"""Short answers and free texts: strict verdicts, published ones with their flaws, and measures of texts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lm_eval.tasks.qasper import metrics as squad

from palimpsest.evaluation.readers.summaries import facts
from palimpsest.evaluation.scorers import SCORERS
from palimpsest.evaluation.scorers.factoid import f1, squad_normal, triviaqa_normal
from palimpsest.evaluation.scorers.words import repetition, words
from palimpsest.provenance import PalimpsestError

SEVILLE = {"id": "chipmunks", "aliases": ["David Seville", "Ross Bagdasarian"]}
PROMPT = "Please give answer to this question: who made the chipmunks\nThe answer is "


@pytest.mark.parametrize("scorer", ["factoid", "triviaqa"])
@pytest.mark.parametrize(
    ("text", "correct"),
    [
        ("David Seville", True),
        ("\n the David-Seville!\nAnd more.", False),  # hyphens go without a trace, as in SQuAD's script
        (" the David  Seville.\nQ: who else", True),
        ("ross bagdasarian", True),
        ("It was David Seville", False),
        ("Seville", False),
        ("", False),
        ("\n\n", False),
        ("the", False),
        (".", False),
        ("e", False),
    ],
)
def test_strict_is_the_first_line_equal_to_an_alias(scorer, text, correct):
    assert SCORERS[scorer](SEVILLE, PROMPT, text).correct is correct


@pytest.mark.parametrize("text", ["", "\n", "the", ".", "e", "Seville", "vid sev", "It was David Seville who"])
def test_the_published_triviaqa_scorer_counts_right_what_says_nothing(text):
    verdict = SCORERS["triviaqa"](SEVILLE, PROMPT, text)
    assert verdict.published is True and verdict.correct is False


def test_the_published_triviaqa_scorer_counts_wrong_what_neither_holds_nor_is_held():
    assert SCORERS["triviaqa"](SEVILLE, PROMPT, "Alvin\nDavid Seville").published is False


@pytest.mark.parametrize(
    ("prompt", "text", "published"),
    [
        ("who was it? ", "I think DavidSe ville\nor so", True),
        ("who was it? ", "nobody", False),
        ("was David Seville it? ", "", True),  # the prompt counts
        ("who was it? Ross Bag", "dasarian", True),  # and so does what neither says alone
    ],
)
def test_the_published_factoid_scorer_looks_for_an_alias_in_prompt_and_answer(prompt, text, published):
    assert SCORERS["factoid"](SEVILLE, prompt, text).published is published


def test_a_whole_alias_within_the_line_is_contained_and_part_of_a_word_is_not():
    row = {"id": "france", "aliases": ["Rome"]}
    contains = {
        text: SCORERS["factoid"](row, "", text).measures["contains"] for text in ("in Rome.", "Romeo", "x\nRome")
    }
    assert contains == {"in Rome.": 1.0, "Romeo": 0.0, "x\nRome": 0.0}


@given(st.text(alphabet="The an a.,'-!  \nSeville DAVID_é", max_size=30))
def test_normalization_and_f1_are_those_of_squads_script(text):
    assert squad_normal(text) == (squad.normalize_answer(text) or text.strip().lower())
    gold = "the David Seville"
    ours = f1(squad.normalize_answer(text).split(), squad.normalize_answer(gold).split())
    assert ours == pytest.approx(squad.f1_abstractive([text], [gold]))


def test_triviaqas_normalization_makes_spaces_of_punctuation_before_articles_go():
    assert triviaqa_normal("The_Beatles' ‘a-side’") == "beatles side"


def test_an_answer_that_is_an_article_can_be_right():
    assert SCORERS["factoid"]({"id": "letter", "aliases": ["A"]}, "", " a\n").correct is True


@pytest.mark.parametrize("aliases", [None, [], ["Lund", " "], "Lund", [1]])
def test_a_row_without_whole_aliases_is_an_error_that_names_it(aliases):
    with pytest.raises(PalimpsestError, match=r"question 'town': the field 'aliases' is .* a list of right answers"):
        SCORERS["factoid"]({"id": "town", "aliases": aliases}, "", "Lund")


def test_repetition_is_the_share_of_four_words_that_were_there_before():
    assert repetition(words("a b c d")) == 0
    assert repetition(words("a b c d a b c d")) == pytest.approx(1 / 5)
    assert repetition(words("no " * 24)) == pytest.approx(20 / 21)
    assert repetition(words("three words only")) == 0


def test_chat_is_neither_right_nor_wrong_and_its_words_are_counted():
    verdict = SCORERS["chat"]({"id": "1"}, "", " Don't go. Don't GO! \n")
    assert (verdict.answer, verdict.correct, verdict.published) == ("Don't go. Don't GO!", None, None)
    assert verdict.measures == {"unique_tokens": 2.0, "repetition": 0.0, "length": 4.0}


def test_a_summary_is_measured_against_its_highlights():
    row = {"id": "s", "answer": "83 workers died in Tibet\nXinhua says so", "facts": ["83", "Tibet", "Xinhua"]}
    verdict = SCORERS["summary"](row, "", "In Tibet 83 workers died .")
    assert verdict.correct is None
    # 5 words; the longest common subsequence is "83 workers died": 2·(3/5)·(3/8) / (3/5 + 3/8)
    assert verdict.measures["rouge_l"] == pytest.approx(2 * 3 / (5 + 8))
    assert verdict.measures["coverage"] == pytest.approx(2 / 3)
    assert verdict.measures["length"] == 5
    assert "coverage" not in SCORERS["summary"](row | {"facts": []}, "", "x").measures


def test_named_facts_are_numbers_and_names_and_no_first_word_that_is_none():
    story = "He said that Xinhua reported 1,200 dead. Landslides happen."
    highlights = ["Landslide kills 1,200 in Lund's north, U.S. says", "Xinhua reported it", "The end is 2.5"]
    assert facts(highlights, story) == ["1,200", "Lund", "U.S.", "Xinhua", "2.5"]
