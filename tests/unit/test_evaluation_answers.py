"""`palimpsest.evaluate`: one row a question, right against a direct computation and against plain lm-eval."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pandas
import pytest
import torch
from transformers import AutoModelForCausalLM

import palimpsest
from palimpsest.evaluation.data import write_task
from palimpsest.probing.data import write_probe
from palimpsest.provenance import PalimpsestError

TOWNS = ["Torun", "Lund", "Faro", "Gdynia"]
NAMES = ["Alba Kori", "Miro Tanel", "Ida Reus"]
DATA = os.environ.get("PALIMPSEST_DATA")


def row(number, name):
    question = f"question : where does {name} live ? answer :"
    return {"id": name, "person": name, "attribute": "town", "subset": "shown", "form": "town/q0"} | {
        "question": question,
        "answer": TOWNS[number],
        "options": TOWNS,
    }


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Task folders of a world of three people."""
    world, folder = tmp_path_factory.mktemp("world"), tmp_path_factory.mktemp("data")
    asked = [row(number, name) for number, name in enumerate(NAMES)]
    passage = "Alba Kori lives in Lund . so"
    rows = {
        "closed_book": asked,
        "closed_book_mc": asked,
        "entailment": [
            {
                "id": str(number),
                "passage": str(number),
                "premise": passage,
                "true": f"{name} lives in Lund .",
                "false": f"{name} lives in Faro .",
            }
            for number, name in enumerate(NAMES)
        ],
        "perplexity": [
            {"id": "prose/0", "subset": "prose", "text": "the old cat sees a dog ."},
            {"id": "prose/1", "subset": "prose", "text": "a dog ."},
        ],
    }
    (world / "tasks").mkdir()
    for task, lines in rows.items():
        (world / "tasks" / f"{task}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        write_task(task, folder / task, world=world)
    return folder


@pytest.fixture(scope="module")
def model(tiny_model_folder):
    return AutoModelForCausalLM.from_pretrained(tiny_model_folder).eval()


TASKS = ["closed_book", "closed_book_mc", "entailment", "perplexity"]


@pytest.fixture(scope="module")
def answers(model, tiny_tokenizer, data):
    return palimpsest.evaluate(model, tiny_tokenizer, tasks=TASKS, data=data)


def test_every_question_is_a_row(answers):
    assert list(answers.groupby("task", sort=False).size().items()) == list(zip(TASKS, (3, 3, 3, 2), strict=True))
    assert set(answers.loc[answers.task == "closed_book_mc", "person"]) == set(NAMES)
    assert not answers.duplicated(["task", "question"]).any()
    assert answers.loc[answers.task == "perplexity", "correct"].isna().all()


def test_ranked_answers_are_those_of_the_model(model, tiny_tokenizer, answers):
    for number, found in enumerate(answers[answers.task == "closed_book_mc"].itertuples()):
        ids = torch.tensor([tiny_tokenizer(row(number, NAMES[number])["question"])["input_ids"]])
        with torch.no_grad():
            scores = model(ids).logits[0, -1].log_softmax(-1)[tiny_tokenizer.convert_tokens_to_ids(TOWNS)]
        assert found.answer == TOWNS[int(scores.argmax())]
        assert found.correct == (found.answer == found.gold)
        assert found.score == pytest.approx(float(scores[number]), abs=1e-4)
        assert found.bits == pytest.approx(float(scores.log_softmax(-1)[number]) / math.log(2), abs=1e-4)
        assert found.tokens == 1


def test_generated_answers_are_the_first_words(model, tiny_tokenizer, answers):
    for number, found in enumerate(answers[answers.task == "closed_book"].itertuples()):
        ids = tiny_tokenizer(row(number, NAMES[number])["question"], return_tensors="pt")["input_ids"]
        text = tiny_tokenizer.decode(
            model.generate(ids, max_new_tokens=4, do_sample=False)[0, ids.shape[1] :], skip_special_tokens=True
        )
        assert found.answer == text.split(".")[0].strip()
        assert found.correct == (found.answer == found.gold)


def test_perplexity_counts_the_tokens_of_the_text(model, tiny_tokenizer, answers):
    first = answers[answers.task == "perplexity"].iloc[0]
    ids = torch.tensor([tiny_tokenizer("the old cat sees a dog .")["input_ids"]])
    with torch.no_grad():
        loss = model(ids, labels=ids).loss.item()
    assert first.tokens == 7
    assert -first.score / first.tokens == pytest.approx(loss, abs=1e-5)


def test_evaluating_twice_gives_the_same_table(model, tiny_tokenizer, data, answers):
    pandas.testing.assert_frame_equal(palimpsest.evaluate(model, tiny_tokenizer, tasks=TASKS, data=data), answers)


def test_limit_asks_the_first_questions(model, tiny_tokenizer, data, answers):
    few = palimpsest.evaluate(model, tiny_tokenizer, tasks=["closed_book_mc"], data=data, limit=2)
    assert few.question.tolist() == NAMES[:2]


def test_the_task_folders_run_with_plain_lm_eval(model, tiny_tokenizer, data, answers, tmp_path, monkeypatch):
    import datasets
    from lm_eval import evaluator
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    manager = TaskManager(include_path=str(data), include_defaults=False)
    hflm = HFLM(pretrained=model, tokenizer=tiny_tokenizer)
    results = evaluator.evaluate(hflm, manager.load(TASKS), bootstrap_iters=0)["results"]
    share = answers.groupby("task").correct.mean()
    assert results["closed_book"]["exact_match,answer"] == pytest.approx(share["closed_book"])
    assert results["closed_book_mc"]["acc,none"] == pytest.approx(share["closed_book_mc"])
    assert results["entailment"]["acc,none"] == pytest.approx(share["entailment"])


def test_a_missing_task_folder_is_named(model, tiny_tokenizer, data):
    with pytest.raises(PalimpsestError, match="open_book: there is no such folder"):
        palimpsest.evaluate(model, tiny_tokenizer, tasks=["open_book"], data=data)
    with pytest.raises(PalimpsestError, match="nowhere: there is no such folder"):
        palimpsest.evaluate(model, tiny_tokenizer, tasks=["open_book"], data="nowhere")


def test_a_changed_row_is_found(model, tiny_tokenizer, data, tmp_path):
    import shutil

    shutil.copytree(data / "closed_book", tmp_path / "closed_book")
    rows = tmp_path / "closed_book" / "closed_book.jsonl"
    rows.write_text(rows.read_text().replace("Lund", "Faro"))
    with pytest.raises(PalimpsestError, match="changed or damaged"):
        palimpsest.evaluate(model, tiny_tokenizer, tasks=["closed_book"], data=tmp_path)


def test_the_job_writes_nothing_but_its_outputs(tiny_model_folder, data, tmp_path):
    """The script in a process of its own, with an empty home: answers, cache and features, and no file besides."""
    from palimpsest.compression.cell import compress

    probe = tmp_path / "attribute_value"
    rows = [
        {"id": name, "person": name, "attribute": "town", "value": "Lund", "question": row(0, name)["question"]}
        for name in NAMES
    ]
    (tmp_path / "world" / "tasks").mkdir(parents=True)
    (tmp_path / "world" / "tasks" / "attribute_value.jsonl").write_text(
        "".join(json.dumps(line) + "\n" for line in rows)
    )
    write_probe("attribute_value", probe, world=tmp_path / "world")
    compress(tiny_model_folder, tmp_path / "cell", method="dense", level="full")
    home, out = tmp_path / "home", tmp_path / "out"
    home.mkdir()
    identity = [
        "--model",
        "tiny",
        "--label",
        "dense",
        "--method",
        "dense",
        "--level",
        "full",
        "--seed",
        "0",
        "--recovery",
        "none",
    ]
    command = [
        sys.executable,
        "scripts/evaluate.py",
        "--variant",
        str(tmp_path / "cell"),
        "--tasks",
        *(str(data / task) for task in TASKS),
    ]
    command += ["--probes", str(probe), "--features", str(out / "features"), "--output", str(out / "answers.parquet")]
    command += ["--cache", str(out / "store"), *identity]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        command,
        cwd=root,
        env=os.environ | {"HOME": str(home), "HF_HOME": str(home), "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert list(home.rglob("*")) == []
    table = pandas.read_parquet(out / "answers.parquet")
    assert list(table.columns[:7]) == ["model", "label", "method", "level", "seed", "recovery", "task"]
    assert len(table) == 11
    assert [path.suffix for path in (out / "store").iterdir()] == [".sqlite"]


@pytest.mark.skipif(
    not DATA or not Path(DATA, "models/stories260K").is_dir(), reason="PALIMPSEST_DATA has no models/stories260K"
)
def test_a_real_model_has_its_known_perplexities(tmp_path):
    """stories260K: 3.55 and 5.13 on TinyStories, about 220 on WikiText-2."""
    import numpy
    from transformers import AutoTokenizer

    tasks = ["perplexity_tinystories", "perplexity_wikitext2"]
    for task in tasks:
        write_task(task, tmp_path / task, root=DATA)
    folder = Path(DATA, "models/stories260K")
    answers = palimpsest.evaluate(
        AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder), tasks=tasks, data=tmp_path
    )
    sums = answers.groupby("subset")[["score", "tokens"]].sum()
    found = numpy.exp(-sums.score / sums.tokens)
    assert found["five"] == pytest.approx(3.55, abs=0.01)
    assert found["sample"] == pytest.approx(5.13, abs=0.01)
    assert found["test"] == pytest.approx(220, rel=0.01)
