"""Tasks that a classifier can answer: their rows and training rows, and what a study says of them."""

from __future__ import annotations

import json
import os

import numpy as np
import pandas
import pytest
from finetuning_example import make_encoder, sentiments, write_folder
from sklearn.metrics import matthews_corrcoef

from palimpsest import settings
from palimpsest.analysis import matthews
from palimpsest.analysis.flips import flips
from palimpsest.evaluation import definition
from palimpsest.evaluation.data import check_training, read_task, write_task, write_training
from palimpsest.finetuning.examples import of_row
from palimpsest.grid import Grid
from palimpsest.leaks import study as guard
from palimpsest.provenance import PalimpsestError

DATA = os.environ.get("PALIMPSEST_DATA")
COLA = 'gj04\t1\t\tThe book was "written" by John.\nc-05\t0\t*\tBooks were sent to each other by.\n'
LABELS = ("entailment", "neutral", "contradiction")
PAIRS = "".join(["premise,hypothesis,label\n", *(f"Text {n // 2},Claim {n},{LABELS[n % 3]}\n" for n in range(60))])


@pytest.fixture
def root(tmp_path):
    """A folder of data as PALIMPSEST_DATA names one."""
    for name, text in (
        ("data/cola/raw/in_domain_dev.tsv", COLA),
        ("data/cola/raw/in_domain_train.tsv", COLA * 2),
        ("data/sst2/dev.tsv", "sentence\tlabel\na fine film \t1\ndull\t0\n"),
        ("data/nli/mnli/dev.csv", PAIRS),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def rows_of(write, task, folder, **arguments):
    write(task, folder / task, **arguments)
    return read_task(folder / task)


def test_sentences_are_read_as_they_stand_between_tabs(root):
    wanted, rows = rows_of(write_task, "cola", root / "tasks", root=root)
    assert definition.classes(wanted) == ["unacceptable", "acceptable"]
    assert [(row["sentence"], row["label"], row["answer"]) for row in rows] == [
        ('The book was "written" by John.', 1, "yes"),
        ("Books were sent to each other by.", 0, "no"),
    ]
    _, rows = rows_of(write_task, "sst2", root / "tasks", root=root)
    assert [(row["id"], row["sentence"], row["answer"]) for row in rows] == [
        ("dev/2", "a fine film", "positive"),
        ("dev/3", "dull", "negative"),
    ]


def test_a_line_with_another_number_of_columns_and_an_unknown_class_are_named(root):
    file = root / "data" / "sst2" / "dev.tsv"
    for text, said in (("fine\t1\tx\n", "line 1: it does not have 2 columns"), ("fine\tgood\n", "'label' is 'good'; ")):
        file.write_text(text)
        with pytest.raises(PalimpsestError, match=said):
            write_task("sst2", root / "tasks" / "sst2", root=root)


def test_training_rows_are_those_that_the_task_names_and_as_many_as_asked(root):
    assert len(rows_of(write_training, "cola", root / "training", root=root)[1]) == 4
    some = rows_of(write_training, "cola", root / "fewer", root=root, options={"training_rows": 3})[1]
    assert len(some) == 3 and all(row["id"].startswith("in_domain_train/") for row in some)


def test_where_there_is_nothing_to_train_on_it_is_said_before_anything_starts(root):
    for check in (
        check_training,
        lambda task, options, root: write_training(task, root / "training" / task, root=root),
    ):
        with pytest.raises(PalimpsestError, match=r"mnli: there is nothing to fine-tune on.*training_share: 0\.5"):
            check("mnli", {}, root)
    check_training("mnli", {"training_share": 0.5}, root)
    with pytest.raises(PalimpsestError, match="task perplexity: no model can be fine-tuned for it"):
        write_training("perplexity", root / "training" / "perplexity", root=root)


def test_a_share_that_is_trained_on_is_not_asked_and_passages_stay_whole(root):
    options = {"training_share": 0.4}
    asked = rows_of(write_task, "mnli", root / "tasks", root=root, options=options)[1]
    learned = rows_of(write_training, "mnli", root / "training", root=root, options=options)[1]
    assert len(asked) + len(learned) == 60 and 10 < len(learned) < 40
    assert not {row["passage"] for row in asked} & {row["passage"] for row in learned}


def test_a_pair_makes_an_example_of_each_statement():
    said = definition.ours(definition.shipped("entailment"))
    row = {"premise": "p", "options": ["no", "yes"], "answer": "yes"}
    assert [(one.texts, one.label) for one in of_row(row, said)] == [(("p", "no"), 0), (("p", "yes"), 1)]


@pytest.mark.parametrize(
    ("classify", "said"),
    [
        ({"texts": "premise"}, r"write e\.g\. `classify: \{texts: \[premise, hypothesis\]"),
        ({"texts": ["premise", "hypotheses"], "train": {}}, "'hypotheses' is no field.*Did you mean 'hypothesis'"),
        ({"texts": ["premise", "option"], "train": {}}, "where the task has a `pair`, and only there"),
    ],
)
def test_what_a_task_says_of_its_classes_is_checked(classify, said):
    wanted = definition.shipped("sick")
    wanted["metadata"]["palimpsest"]["classify"] = classify
    with pytest.raises(AssertionError, match=said):
        raise AssertionError("; ".join(definition.problems("sick", wanted)))


STUDY = {
    "name": "x",
    "models": {
        "bert": {"source": "folder", "path": "/bert", "type": "encoder"},
        "gpt": {"source": "folder", "path": "/gpt"},
        "nli": {"source": "fine-tuned", "of": "bert", "task": "sick"},
    },
    "compression": {"rtn": {"levels": ["4"]}},
    "recovery": {
        "tune": {
            "method": "fine-tune",
            "training": {"text": {"task": "sick"}, "steps": 5},
            "cells": ["bert/dense/full", "bert/rtn/4", "nli/rtn/4"],
        }
    },
    "tasks": ["sick", "boolq"],
}


def changed(path, value):
    study = json.loads(json.dumps(STUDY))
    *parents, last = path.split("/")
    place = study
    for key in parents:
        place = place[key]
    place[last] = value
    return study


def test_a_study_of_encoders_knows_what_each_variant_answers_and_what_is_learned():
    grid = Grid(settings.load(STUDY, "x.yaml"))
    answered = {variant.id: grid.tasks(variant) for variant in grid.variants() if variant.cell.label != "dense"}
    assert answered == {
        "bert/rtn/4/s0/none": [],
        "bert/rtn/4/s0/tune": ["sick"],
        "gpt/rtn/4/s0/none": ["sick", "boolq"],
        "nli/rtn/4/s0/none": ["sick"],
        "nli/rtn/4/s0/tune": ["sick"],
    }
    assert grid.learned_tasks() == ["sick"] and grid.training_folder("sick") == "results/x/training/sick"


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("models/nli/of", "gpt", "models.nli.of: gpt is a decoder"),
        ("models/nli/of", "brt", "no model \"brt\""),
        ("models/nli/task", "boolq", "no model is fine-tuned for \"boolq\"; there are .*sick"),
        ("models/nli/task", "rte", "the task rte is not one of this study"),
        ("recovery/tune/training/text", {"path": "/x.txt"}, "fine-tuning reads the training rows of a task"),
        ("recovery/tune/method", "lora", "lora is trained on text, and fine-tune on a task's rows"),
        ("recovery/tune/cells", ["gpt/rtn/4"], r"cells\[0\]: gpt is a decoder"),
        ("recovery/tune/cells", ["bert/rtn/4"], "bert answers nothing before it is fine-tuned: put this on its dense"),
        ("recovery/tune/training/mask", "values", "fine-tune has no mask"),
        ("data", {"boolq": {"training_share": 0.5}}, "the task boolq has no classes that a model is fine-tuned for"),
        ("data", {"sick": {"training_share": 1}}, "training_share"),
    ],
)  # fmt: skip
def test_what_cannot_be_fine_tuned_is_refused(path, value, said):
    with pytest.raises(PalimpsestError, match=said):
        settings.load(changed(path, value), "x.yaml")


def test_training_rows_that_are_asked_again_are_reported(tmp_path, capsys):
    study = changed("tasks", ["sst2"])
    study["models"] = {"nli": study["models"]["nli"] | {"task": "sst2"}, "bert": study["models"]["bert"]}
    del study["recovery"], study["compression"]
    grid = Grid(settings.load(study, "x.yaml"))
    rows = [row | {"sentence": f"{row['sentence']} this film is number {row['id']}"} for row in sentiments(0, 12)]
    write_folder(tmp_path / "training", "sst2", rows[:8])
    write_folder(tmp_path / "tasks", "sst2", rows[7:])
    guard.write(tmp_path, grid, ["sst2"], tmp_path / "leaks.csv")
    [found] = pandas.read_csv(tmp_path / "leaks.csv").to_dict("records")
    assert (found["use"], found["text"], found["contained"], found["rows"]) == ("fine-tuning", "task sst2", 1, 5)
    assert "in the text of fine-tuning task sst2, e.g. 7" in capsys.readouterr().err


def answered(gold, said):
    rows = {"gold": gold, "answer": said, "question": [str(number) for number in range(len(gold))], "task": "cola"}
    rows |= {"model": "m", "label": "l", "method": "x", "level": "k", "seed": 0, "recovery": "none"}
    return pandas.DataFrame(rows | {"subset": "", "person": "", "passage": "", "subject": ""})


def test_matthews_correlation_is_scikit_learns_and_zero_for_a_constant_answer(root):
    rng = np.random.default_rng(0)
    gold = rng.choice(["no", "yes"], 400, p=[0.3, 0.7])
    said = np.where(rng.random(400) < 0.7, gold, rng.choice(["no", "yes"], 400))
    write_task("cola", root / "tasks" / "cola", root=root)
    [found] = matthews.correlations(answered(gold, said), root / "tasks").to_dict("records")
    assert found["metric"] == "mcc" and found["value"] == pytest.approx(matthews_corrcoef(gold, said))
    assert found["low"] < found["value"] < found["high"] and found["high"] - found["low"] < 0.2
    [constant] = matthews.correlations(answered(gold, ["yes"] * 400), root / "tasks").to_dict("records")
    assert constant["value"] == 0
    write_task("sst2", root / "tasks" / "sst2", root=root)
    assert matthews.correlations(answered(gold, said).assign(task="sst2"), root / "tasks").empty


def test_the_evaluate_script_asks_an_encoder_what_it_has_learned(tmp_path, monkeypatch):
    import sys

    monkeypatch.syspath_prepend("scripts")
    import evaluate

    from palimpsest.finetuning.train import fine_tune

    task = write_folder(tmp_path / "tasks", "sst2", sentiments(40, 60))
    rows = write_folder(tmp_path / "training", "sst2", sentiments(0, 40))
    fine_tune(make_encoder(tmp_path / "encoder"), rows, tmp_path / "model", steps=2)
    for model, tasks, count in (("encoder", [], 0), ("model", [str(task)], 20)):
        arguments = ["evaluate", "--variant", str(tmp_path / model), "--tasks", *tasks, "--seed", "0"]
        arguments += ["--output", str(tmp_path / "answers.parquet"), "--dense", str(tmp_path / "encoder")]
        for column in ("model", "label", "method", "level", "recovery"):
            arguments += [f"--{column}", "x"]
        monkeypatch.setattr(sys, "argv", arguments)
        evaluate.main(evaluate.parser().parse_args())
        table = pandas.read_parquet(tmp_path / "answers.parquet")
        assert len(table) == count and {"correct", "gold", "answer", "score", "bits"} <= set(table.columns)


def test_cells_of_an_encoder_are_compared_with_its_dense_model_fine_tuned_and_on_its_own_tasks():
    gold, wrong = ["a", "b"] * 20, ["b", "a"] * 20
    parts = {
        # The encoder answers nothing as it is; its dense cell, fine-tuned, is right, a compressed one half as often.
        ("bert", "dense", "full", "tune", "sick"): gold,
        ("bert", "svd", "k0.6", "tune", "sick"): gold[:20] + wrong[20:],
        ("nli", "dense", "full", "none", "rte"): wrong,
        ("nli", "svd", "k0.6", "none", "rte"): gold,
    }
    columns = ("model", "label", "level", "recovery", "task")
    frames = [answered(gold, said).assign(**dict(zip(columns, key, strict=True))) for key, said in parts.items()]
    answers = pandas.concat(frames, ignore_index=True)
    answers["correct"] = (answers["gold"] == answers["answer"]).astype(float)
    found = flips(answers)
    found = found[(found["metric"] == "difference") & (found["subset"] == "all")]
    assert {tuple(row[column] for column in columns): row["value"] for _, row in found.iterrows()} == {
        ("bert", "svd", "k0.6", "tune", "sick"): -0.5,
        ("nli", "svd", "k0.6", "none", "rte"): 1.0,
    }


@pytest.mark.skipif(not DATA, reason="PALIMPSEST_DATA is not set: the real data sets are not there")
@pytest.mark.parametrize(
    ("task", "asked", "learned"),
    [("sick", 500, 9500), ("rte", 277, 2490), ("cola", 1043, 8551), ("sst2", 872, 6920), ("cb", 56, 250)],
)
def test_real_training_rows_are_all_read_and_are_others_than_those_asked(tmp_path, task, asked, learned):
    rows = [rows_of(write, task, tmp_path / str(write))[1] for write in (write_task, write_training)]
    assert [len(some) for some in rows] == [asked, learned]
    assert not {row["id"] for row in rows[0]} & {row["id"] for row in rows[1]}
