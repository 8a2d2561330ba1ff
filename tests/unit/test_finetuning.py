"""Encoders learn a task, before and after compression, and compression stays what it is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
import torch
from finetuning_example import make_encoder, pairs, sentiments, write_folder
from safetensors.torch import load_file

import palimpsest
from palimpsest.calibration import draw
from palimpsest.compression import artifact
from palimpsest.compression.cell import compress
from palimpsest.evaluation import classification
from palimpsest.evaluation.cache import AnswerCache
from palimpsest.finetuning import examples as learned
from palimpsest.finetuning.head import classes_of, with_head
from palimpsest.finetuning.train import fine_tune
from palimpsest.measurement.sizes import sizes
from palimpsest.provenance import PalimpsestError, read_json
from palimpsest.recovery.make import recover

TRAINING = {"steps": 60, "batch_size": 8, "learning_rate": 2e-3}
OF_PAIRS = {"steps": 200, "batch_size": 16, "learning_rate": 1e-3}
SHORT = {"steps": 12, "batch_size": 4, "learning_rate": 5e-3}
# Method and level, and what of a trained matrix is as the cell has it.
KEPT = {
    "magnitude": ("0.5", lambda weight: weight.kept),
    "rtn": ("3", lambda weight: weight.codes),
    "nf4": ("nf4", lambda weight: weight.dense()),
    "svd": ("k0.8", lambda weight: torch.tensor(weight.rank)),
    "structured": ("0.5", lambda weight: torch.outer(weight.kept_rows, weight.kept_columns)),
}


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """An encoder, training rows and questions of two tasks, and the encoder fine-tuned for the first."""
    root = tmp_path_factory.mktemp("finetuning")
    make_encoder(root / "encoder")
    write_folder(root / "training", "sst2", sentiments(0, 200))
    write_folder(root / "tasks", "sst2", sentiments(200, 260))
    write_folder(root / "training", "entailment", pairs(0, 40))
    write_folder(root / "tasks", "entailment", pairs(40, 60))
    fine_tune(root / "encoder", root / "training" / "sst2", root / "classifier", of="encoder", **TRAINING)
    return root


def accuracy(folder, task):
    model, tokenizer = palimpsest.load(folder)
    return classification.ask(model, tokenizer, [task])["correct"].astype(float).mean()


def test_a_fine_tuned_encoder_is_a_plain_classifier_that_answers_its_task(folders):
    from transformers import pipeline

    model, tokenizer = palimpsest.load(folders / "classifier")
    assert classes_of(model) == ["negative", "positive"]
    table = classification.ask(model, tokenizer, [folders / "tasks" / "sst2"])
    assert table["correct"].mean() > 0.95 and len(table) == 60
    sentences = [row["sentence"] for row in sentiments(200, 260)]
    said = pipeline("text-classification", model=model, tokenizer=tokenizer)(sentences)
    assert [one["label"] for one in said] == list(table["answer"])
    right = [one["score"] if correct else 1 - one["score"] for one, correct in zip(said, table["correct"], strict=True)]
    torch.testing.assert_close(torch.tensor(table["score"]).exp(), torch.tensor(right).double(), atol=1e-5, rtol=0)
    source = read_json(folders / "classifier" / "source.json")
    assert source["task"] == "sst2" and source["of"] == "encoder"


def test_a_pair_is_answered_by_the_likelier_statement(folders, tmp_path):
    fine_tune(folders / "encoder", folders / "training" / "entailment", tmp_path / "model", **OF_PAIRS)
    model, tokenizer = palimpsest.load(tmp_path / "model")
    assert classes_of(model) == ["false", "true"]
    table = classification.ask(model, tokenizer, [folders / "tasks" / "entailment"])
    assert table["correct"].mean() > 0.9
    row = pairs(40, 41)[0]
    with torch.no_grad():
        shares = [
            model(**tokenizer(row["premise"], option, return_token_type_ids=True, return_tensors="pt"))
            .logits.double()
            .log_softmax(-1)[0, 1]
            .item()
            for option in row["options"]
        ]
    gold = shares[row["options"].index(row["answer"])]
    assert table["score"][0] == pytest.approx(gold, abs=1e-5)
    assert table["bits"][0] == pytest.approx((gold - torch.tensor(shares).logsumexp(0).item()) / 0.693147, abs=1e-4)


def test_the_same_seed_gives_the_same_bytes_and_another_one_others(folders, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        fine_tune(folders / "encoder", folders / "training" / "sst2", tmp_path / name, seed=seed, **SHORT)
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert (tmp_path / "a" / "model.safetensors").read_bytes() != (tmp_path / "c" / "model.safetensors").read_bytes()


KILLED = """
import os, signal, sys
from palimpsest import job
from palimpsest.finetuning import train

seen = []
loss = train.class_loss
def class_loss(model, batch):
    seen.append(1)
    if len(seen) == 8:
        os.kill(os.getpid(), signal.SIGKILL)
    return loss(model, batch)

train.class_loss = class_loss
train.fine_tune(*sys.argv[1:4], state_folder=sys.argv[4], checkpoint_minutes=0, **{settings})
"""


def test_killed_fine_tuning_ends_with_the_same_bytes(folders, tmp_path, capfd):
    arguments = [folders / "encoder", folders / "training" / "sst2", tmp_path / "model"]
    script = KILLED.replace("{settings}", repr(SHORT))
    killed = subprocess.run([sys.executable, "-c", script, *map(str, arguments), str(tmp_path / "state")], check=False)
    assert killed.returncode == -signal.SIGKILL and not (tmp_path / "model").exists()
    assert len(os.listdir(tmp_path / "state")) == 1
    fine_tune(*arguments, state_folder=tmp_path / "state", **SHORT)
    assert "training goes on after step 7" in capfd.readouterr().err
    fine_tune(*arguments[:2], tmp_path / "whole", **SHORT)
    assert files(tmp_path / "model") == files(tmp_path / "whole") and not os.listdir(tmp_path / "state")


def test_embeddings_that_are_not_trained_stay(folders, tmp_path):
    fine_tune(folders / "encoder", folders / "training" / "sst2", tmp_path / "model", embeddings=False, **SHORT)
    before, after = (load_file(folder / "model.safetensors") for folder in (folders / "encoder", tmp_path / "model"))
    changed = {name for name, tensor in after.items() if not torch.equal(tensor, before.get(name, torch.empty(0)))}
    assert set(after) - changed == {"bert.embeddings.word_embeddings.weight"}


@pytest.mark.parametrize("name", ["BertModel", "BertForMaskedLM", "RobertaModel", "RobertaForMaskedLM"])
def test_any_encoder_gets_a_head_and_one_that_has_it_keeps_it(tmp_path, name):
    first = with_head(make_encoder(tmp_path / "encoder", name, type_vocab_size=1), ["no", "yes"], seed=3)
    first.save_pretrained(tmp_path / "classifier")
    same, renamed = (with_head(tmp_path / "classifier", names, seed=4) for names in (["no", "yes"], ["yes", "no"]))
    for key, tensor in first.state_dict().items():
        assert torch.equal(tensor, same.state_dict()[key])
        is_head = key.startswith("classifier") and key.endswith("weight")
        assert torch.equal(tensor, renamed.state_dict()[key]) != is_head


def test_a_decoder_and_a_class_without_rows_are_refused(folders, tiny_model_folder, tmp_path):
    with pytest.raises(PalimpsestError, match=r"a llama is a decoder.*Encoders"):
        with_head(tiny_model_folder, ["no", "yes"])
    rows = [row for row in sentiments(0, 20) if row["label"]]
    with pytest.raises(PalimpsestError, match="none of the 10 training examples of sst2 has the class 'negative'"):
        learned.read_examples(write_folder(tmp_path, "sst2", rows))


@pytest.fixture(scope="module")
def cells(folders):
    """Cells of the encoder and of the classifier, by every kind of compressed matrix."""
    text = folders / "text.txt"
    text.write_text("".join(row["sentence"] + "\n" for row in sentiments(0, 40)))
    draw(text, folders / "encoder", folders / "calibration", samples=16, length=8)
    for model in ("encoder", "classifier"):
        for method, (level, _) in KEPT.items():
            inputs = folders / "calibration" if method == "structured" else None
            cell = folders / "cells" / model / method
            compress(folders / model, cell, method=method, level=level, calibration_folder=inputs)
        compress(folders / model, folders / "cells" / model / "dense", method="dense", level="full")
    return folders / "cells"


def tuned(folders, cell, output, training=TRAINING, **options):
    rows = folders / "training" / "sst2"
    recover(cell, output, method="fine-tune", options=options, text=[rows], training=training)
    return output


@pytest.mark.parametrize(
    ("model", "method"), [*(("encoder", method) for method in KEPT), ("classifier", "svd"), ("classifier", "nf4")]
)
def test_fine_tuning_learns_the_task_and_leaves_the_compression(folders, cells, tmp_path, model, method):
    kept = KEPT[method][1]
    variant = tuned(folders, cells / model / method, tmp_path / "adapter")
    # Of NF4 no matrix moves: an encoder that knew nothing learns with its norms, biases and head.
    assert accuracy(variant, folders / "tasks" / "sst2") > (0.65 if method == "nf4" else 0.9)
    before, after = (read_layers(folder) for folder in (cells / model / method, variant / "cell"))
    assert before.keys() == after.keys()
    for name, weight in after.items():
        assert weight.kind == before[name].kind and torch.equal(kept(weight), kept(before[name]))
        assert weight.nbytes == before[name].nbytes
        if method != "nf4":
            assert not torch.equal(weight.dense(), before[name].dense())
    loaded, _ = palimpsest.load(variant)
    for name, weight in after.items():
        path = name if name.startswith("bert.") else f"bert.{name}"
        torch.testing.assert_close(loaded.get_submodule(path).weight, weight.dense())


def read_layers(folder):
    return artifact.read_layers(folder, artifact.read_record(folder))


def test_what_is_loaded_is_what_was_trained(folders, cells, tmp_path, monkeypatch):
    from palimpsest.recovery import fine_tune as module

    seen = []
    monkeypatch.setattr(module, "run", lambda model, *rest: seen.append(model) or run(model, *rest))
    from palimpsest.finetuning.train import run

    for method in KEPT:
        seen.clear()
        variant = tuned(folders, cells / "encoder" / method, tmp_path / method, SHORT)
        loaded, tokenizer = palimpsest.load(variant)
        inputs = tokenizer("red the dog", return_tensors="pt")
        with torch.no_grad():
            # The scales of integers are stored in half precision.
            torch.testing.assert_close(
                loaded(**inputs).logits, seen[0].eval()(**inputs).logits, atol=2e-2 if method == "rtn" else 1e-4, rtol=0
            )


def test_a_dense_cell_is_fine_tuned_as_the_dense_model_is(folders, cells, tmp_path):
    variant = tuned(folders, cells / "encoder" / "dense", tmp_path / "adapter", embeddings=True)
    found, expected = palimpsest.load(variant)[0].state_dict(), load_file(folders / "classifier" / "model.safetensors")
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


def test_bytes_and_parameters_of_a_fine_tuned_cell_are_those_of_its_model(folders, cells, tmp_path):
    variant = tuned(folders, cells / "encoder" / "svd", tmp_path / "adapter", SHORT)
    before, after = (
        {metric: value for metric, value, _ in sizes(cells / model / "svd", adapter)}
        for model, adapter in (("classifier", None), ("encoder", variant))
    )
    # A cell of the classifier has the same shapes: it was compressed after fine-tuning.
    assert after == before
    stored = sum(tensor.nbytes for tensor in load_file(variant / "cell" / "dense.safetensors").values())
    words = load_file(folders / "encoder" / "model.safetensors")["bert.embeddings.word_embeddings.weight"].nbytes
    assert after["bytes_total"] == after["bytes_artifact"] + stored + words


@pytest.mark.parametrize("method", ["rtn", "svd", "magnitude"])
def test_an_interrupted_recovery_ends_with_the_same_bytes(folders, cells, tmp_path, monkeypatch, method):
    from palimpsest.finetuning import train

    def made(output, **settings):
        recover(
            cells / "encoder" / method, tmp_path / output, method="fine-tune", options={},
            text=[folders / "training" / "sst2"], training=SHORT | settings, state_folder=tmp_path / "state",
        )  # fmt: skip
        return files(tmp_path / output)

    whole, seen = made("adapter"), []
    loss = train.class_loss

    def interrupted(model, batch):
        seen.append(1)
        if len(seen) == 8:
            raise KeyboardInterrupt
        return loss(model, batch)

    monkeypatch.setattr(train, "class_loss", interrupted)
    with pytest.raises(KeyboardInterrupt):
        made("again", checkpoint_minutes=0)
    assert made("again") == whole and len(seen) == 8 + 5


def test_roberta_is_fine_tuned_before_and_after_compression(folders, tmp_path):
    make_encoder(tmp_path / "encoder", "RobertaModel", type_vocab_size=1)
    rows = folders / "training" / "sst2"
    fine_tune(tmp_path / "encoder", rows, tmp_path / "classifier", **TRAINING)
    for model in ("encoder", "classifier"):
        compress(tmp_path / model, tmp_path / "cells" / model, method="svd", level="k0.8")
        variant = tuned(folders, tmp_path / "cells" / model, tmp_path / "variants" / model)
        assert accuracy(variant, folders / "tasks" / "sst2") > 0.9


def test_scales_are_left_alone_if_asked(folders, cells, tmp_path):
    variant = tuned(folders, cells / "encoder" / "rtn", tmp_path / "adapter", SHORT, scales=False)
    before, after = read_layers(cells / "encoder" / "rtn"), read_layers(variant / "cell")
    assert all(torch.equal(weight.dense(), before[name].dense()) for name, weight in after.items())


def test_other_classes_and_tasks_without_classes_are_refused(folders):
    model, tokenizer = palimpsest.load(folders / "classifier")
    with pytest.raises(PalimpsestError, match=r"classes of entailment are false, true.*fine-tuned on others: negative"):
        classification.ask(model, tokenizer, [folders / "tasks" / "entailment"])
    encoder, _ = palimpsest.load(folders / "encoder")
    with pytest.raises(PalimpsestError, match=r"cannot be asked sst2: it has no classification head.*fine-tuned"):
        classification.ask(encoder, tokenizer, [folders / "tasks" / "sst2"])


def test_scores_depend_neither_on_the_batch_nor_on_the_cache(folders, tmp_path):
    model, tokenizer = palimpsest.load(folders / "classifier")
    task, cache = folders / "tasks" / "sst2", AnswerCache(tmp_path / "digest.sqlite")
    alone = classification.ask(model, tokenizer, [task], batch_size=1, cache=cache)
    for batch_size in (7, "auto"):
        together = classification.ask(model, tokenizer, [task], batch_size=batch_size)
        assert list(together["answer"]) == list(alone["answer"])
        torch.testing.assert_close(*(torch.tensor(table["score"]) for table in (alone, together)), atol=2e-6, rtol=0)
    assert palimpsest.evaluate(model, tokenizer, tasks=["sst2"], data=folders / "tasks").equals(together)
    with pytest.raises(PalimpsestError, match="is an encoder: it predicts no next token"):
        palimpsest.lm(model, tokenizer)
    classifier = model.classifier.weight.data.clone()
    model.classifier.weight.data.zero_()  # who asked it again would get other answers
    again = classification.ask(model, tokenizer, [task], cache=cache)
    model.classifier.weight.data.copy_(classifier)
    assert again.equals(alone)
