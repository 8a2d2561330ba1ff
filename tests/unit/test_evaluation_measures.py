"""What ranked and likelihood tasks measure besides right and wrong, against direct computations and lm-eval's own."""

import json
import math

import numpy as np
import pandas
import pytest
import torch
from lm_eval.tasks.truthfulqa.utils import process_results_mc2
from test_evaluation_readers import put
from transformers import AutoModelForCausalLM

import palimpsest
from palimpsest.analysis.answers import task_scoring, tidy
from palimpsest.analysis.consistency import consistency
from palimpsest.analysis.metrics import accuracies, measures, perplexities
from palimpsest.evaluation.data import write_task
from palimpsest.evaluation.scorers.letter import letter
from palimpsest.provenance import PalimpsestError

DENSE = {"model": "m", "label": "dense", "method": "dense", "level": "full", "seed": 0, "recovery": "none"}
WORDS = str.split("a cat sees the old dog is in Lund and likes not red house river who lives was Faro young pilot")


@pytest.fixture(scope="module")
def model(tiny_model_folder):
    return AutoModelForCausalLM.from_pretrained(tiny_model_folder).eval()


@pytest.fixture(scope="module")
def said(model, tiny_tokenizer):
    """Log-likelihood of a continuation, by a forward pass of its own."""

    def score(context, continuation):
        before = tiny_tokenizer(context)["input_ids"]
        after = tiny_tokenizer(continuation, add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            found = model(torch.tensor([before + after])).logits[0].log_softmax(-1)
        return sum(float(found[len(before) - 1 + place, token]) for place, token in enumerate(after))

    return score


def ask(model, tokenizer, root, task, **options):
    write_task(task, root / "tasks" / task, root=root, options=options)
    return palimpsest.evaluate(model, tokenizer, [task], data=root / "tasks")


def as_table(answers):
    return tidy(answers.assign(**DENSE))


def test_acc_norm_divides_by_the_characters_of_an_option(model, tiny_tokenizer, said, tmp_path):
    endings = [
        ["sees", "likes the old dog", "is red"],
        ["in Lund", "who lives not in the young river house", "was a cat"],
    ]
    records = [
        {"ctx": f"the {word}", "endings": ends, "label": 1} for word, ends in zip(("cat", "dog"), endings, strict=True)
    ]
    put(tmp_path, "hellaswag", "hellaswag_val.jsonl", records)
    answers = ask(model, tiny_tokenizer, tmp_path, "hellaswag")
    for record, row in zip(records, answers.itertuples(), strict=True):
        scores = [said(record["ctx"], " " + ending) for ending in record["endings"]]
        lengths = [len(ending) for ending in record["endings"]]
        assert row.score == pytest.approx(scores[1], abs=1e-4)
        assert row.correct == (np.argmax(scores) == 1)
        assert json.loads(row.measures) == {"acc_norm": float(np.argmax(np.divide(scores, lengths)) == 1)}
    table = measures(as_table(answers))
    assert table.loc[(table.metric == "acc_norm") & (table.subset == "all"), "value"].item() == pytest.approx(
        np.mean([json.loads(text)["acc_norm"] for text in answers["measures"]])
    )


def test_mc2_is_lm_evals_share_of_the_true_options_and_nothing_is_right_or_wrong(model, tiny_tokenizer, said, tmp_path):
    options = ["the cat is red.", "a dog was old.", "Lund likes Faro.", "who sees the river."]
    record = {"question": "who is in the house", "mc2_targets": {"choices": options, "labels": [1, 1, 0, 0]}}
    put(tmp_path, "truthfulqa_mc2", "multiple_choice/validation-0.parquet", [record])
    answers = ask(model, tiny_tokenizer, tmp_path, "truthfulqa_mc2")
    from palimpsest.evaluation import definition

    prompt = definition.shipped("truthfulqa_mc2")["doc_to_text"].replace("{{question}}", record["question"])
    results = [(said(prompt, " " + option), False) for option in options]
    expected = process_results_mc2(record, results)["acc"]
    assert json.loads(answers["measures"].item())["mc2"] == pytest.approx(expected, abs=1e-4)
    assert answers["correct"].isna().all()


def test_winogrande_ranks_the_rest_of_the_sentence(model, tiny_tokenizer, said, tmp_path):
    record = {
        "sentence": "the cat likes _ in the old house",
        "option1": "Lund",
        "option2": "a young pilot",
        "answer": "2",
    }
    put(tmp_path, "winogrande", "dev.jsonl", [record])
    (row,) = ask(model, tiny_tokenizer, tmp_path, "winogrande").itertuples()
    scores = [said(f"the cat likes {record[name]}", " in the old house") for name in ("option1", "option2")]
    assert row.gold == "the cat likes a young pilot" and row.score == pytest.approx(scores[1], abs=1e-4)
    assert row.correct == (np.argmax(scores) == 1)


def test_lambada_has_the_perplexity_of_whole_words(model, tiny_tokenizer, said, tmp_path):
    texts = ["the old cat sees a dog", "who lives in Lund"]
    put(tmp_path, "lambada", "lambada_test.jsonl", [{"text": text} for text in texts])
    answers = ask(model, tiny_tokenizer, tmp_path, "lambada")
    expected = math.exp(-np.mean([said(*text.rsplit(" ", 1)[:1], " " + text.rsplit(" ", 1)[1]) for text in texts]))
    scoring = task_scoring(tmp_path / "tasks", ["lambada"])
    found = perplexities(as_table(answers), scoring)
    assert found.loc[(found.metric == "perplexity") & (found.subset == "all"), "value"].item() == pytest.approx(
        expected
    )
    assert "acc" in set(accuracies(as_table(answers), scoring)["metric"])


def corpus(root, words):
    folder = root / "data/wikitext2"
    folder.mkdir(parents=True)
    (folder / "test.txt").write_text("".join(f" {' '.join(words[at : at + 10])} \n" for at in range(0, len(words), 10)))


def test_windows_are_those_of_the_papers(model, tiny_tokenizer, tmp_path):
    """GPTQ's own loop: the corpus joined by blank lines, in windows; each predicts all its tokens but the first."""
    words = [WORDS[place * 7 % len(WORDS)] for place in range(173)]
    corpus(tmp_path, words)
    length = 16
    answers = ask(model, tiny_tokenizer, tmp_path, "perplexity_windows_wikitext2", window=length)
    with open(tmp_path / "data/wikitext2/test.txt") as file:
        ids = tiny_tokenizer("\n\n".join(file), return_tensors="pt").input_ids
    losses = []
    for start in range(0, ids.numel() // length * length, length):
        window = ids[:, start : start + length]
        with torch.no_grad():
            logits = model(window).logits[:, :-1]
        losses.append(torch.nn.functional.cross_entropy(logits[0], window[0, 1:]) * length)
    expected = math.exp(sum(losses) / (len(losses) * length))
    assert len(answers) == len(losses) == 10 and set(answers["tokens"]) == {length - 1}
    scoring = task_scoring(tmp_path / "tasks", ["perplexity_windows_wikitext2"])
    found = perplexities(as_table(answers), scoring)
    assert set(found["metric"]) == {"perplexity_16"}
    assert found["value"].iloc[0] == pytest.approx(expected, rel=1e-5)


def test_a_window_that_the_model_or_the_corpus_cannot_fill_is_an_error(model, tiny_tokenizer, tmp_path):
    corpus(tmp_path, WORDS)
    task = "perplexity_windows_wikitext2"
    with pytest.raises(PalimpsestError, match=rf"context 256. In the study, write `data: {{{task}: {{window: 256}}}}`"):
        ask(model, tiny_tokenizer, tmp_path, task)
    with pytest.raises(PalimpsestError, match=r"wikitext2 has 2[0-9] tokens, fewer than one window of 64"):
        ask(model, tiny_tokenizer, tmp_path, task, window=64)


def test_rows_of_a_corpus_are_windows_drawn_from_all_of_it(model, tiny_tokenizer, tmp_path):
    corpus(tmp_path, WORDS * 20)
    answers = ask(model, tiny_tokenizer, tmp_path, "perplexity_windows_wikitext2", window=8, rows=5)
    numbers = [int(name.split("/")[1]) for name in answers["question"]]
    assert len(numbers) == 5 and numbers != list(range(5)) and numbers == sorted(numbers)


def test_consistency_counts_pairs_of_paraphrases_with_one_answer():
    said = {"a": ["Rome", "Rome", "Oslo"], "b": ["Lund", "Lund"], "c": ["Faro"]}
    rows = [
        DENSE | {"task": "pararel", "subset": "P1", "question": f"{fact}/{form}", "form": str(form), "passage": fact}
        | {"answer": answer, "bits": -1.0, "correct": False}
        for fact, answers in said.items()
        for form, answer in enumerate(answers)
    ]  # fmt: skip
    table = consistency(tidy(pandas.DataFrame(rows)))
    assert table["value"].tolist() == [2 / 4] * 2  # 1 of 3 pairs of a, 1 of 1 of b; c has no pair
    assert table["n"].tolist() == [4, 4] and table["subset"].tolist() == ["all", "P1"]


@pytest.mark.parametrize(
    ("generated", "strict", "published"),
    [(" B", True, True), ("B", True, True), (" AB", False, True), ("", False, False), (" C", False, False)],
)
def test_a_letter_counts_as_published_if_it_comes_last(generated, strict, published):
    verdict = letter({"answer": "B"}, "Which?\nAnswer:", generated)
    assert (verdict.correct, verdict.published) == (strict, published)


def test_an_option_that_is_there_twice_is_told_by_its_number(model, tiny_tokenizer, tmp_path):
    record = {"id": "q", "question": "who is old", "choices": {"text": ["cat", "dog", "cat"], "label": ["A", "B", "C"]}}
    put(tmp_path, "arc_easy", "ARC-Easy-Test.jsonl", [record | {"answerKey": "C"}])
    (row,) = ask(model, tiny_tokenizer, tmp_path, "arc_easy").itertuples()
    assert row.gold == "cat" and row.tokens == 1
