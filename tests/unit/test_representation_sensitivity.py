"""One matrix of a cell at a time in the dense model: what it does to its output, to predictions and to probes."""

from __future__ import annotations

import json

import finetuning_example
import numpy as np
import pandas
import pytest
import torch
import yaml

from palimpsest import loading
from palimpsest.compression.artifact import read_layers, read_record
from palimpsest.compression.cell import compress
from palimpsest.provenance import PalimpsestError, atomic_folder
from palimpsest.representation import study
from palimpsest.representation.probed import LastLayer, probe_drops
from palimpsest.representation.reading import Watched
from palimpsest.representation.sensitivity import sensitivities, spliced
from palimpsest.representation.study import Source

SMALL = {"vocab_size": 70, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48,
         "max_position_embeddings": 64, "initializer_range": 0.2, "pad_token_id": 0}  # fmt: skip
WORDS = "the dog sees a cat and Alba likes old red house in Lund".split()


def rows(count=12, seed=0):
    generator = np.random.default_rng(seed)
    return [[1, *generator.integers(4, 48, generator.integers(3, 12))] for _ in range(count)]


def cell_of(model_folder, folder, method="svd", level="k0.5", **options):
    compress(model_folder, folder, method=method, level=level, **options)
    return read_layers(folder, read_record(folder))


@pytest.fixture(scope="module")
def compressed(tmp_path_factory, tiny_model_folder):
    return cell_of(tiny_model_folder, tmp_path_factory.mktemp("cells") / "svd")


def logits(model, text):
    with torch.no_grad():
        return model(torch.tensor([text])).logits[0, 1:].log_softmax(-1)


def table(found):
    return pandas.DataFrame(found).set_index(["layer", "subset", "metric"])


def test_error_and_divergence_are_those_of_a_model_with_this_one_matrix_replaced(tiny_model_folder, compressed):
    texts = rows()
    found = table(sensitivities(Watched(loading.load(tiny_model_folder)[0]), compressed, texts, "task"))
    assert len(found) == 2 * 14 + 1 and set(found.n) == {12}
    dense = loading.load(tiny_model_folder)[0]
    for block, name in ((0, "self_attn.v_proj"), (1, "mlp.down_proj")):
        other = loading.load(tiny_model_folder)[0]
        path = f"model.layers.{block}.{name}"
        other.get_submodule(path).weight.data = compressed[path].dense()
        far, inputs = [], []
        dense.get_submodule(path).register_forward_pre_hook(lambda _, x, inputs=inputs: inputs.append(x[0][0, 1:]))
        for text in texts:
            p, q = logits(dense, text), logits(other, text)
            far.append((p.exp() * (p - q)).sum(-1).mean().item())
        x = torch.cat(inputs)
        before, after = (x @ weight.T for weight in (dense.get_submodule(path).weight, compressed[path].dense()))
        place = str(block + 1), name.rpartition(".")[2]
        error = ((before - after) ** 2).sum() / (before**2).sum()
        assert found.loc[(*place, "sensitivity_kl"), "value"] == pytest.approx(np.mean(far), rel=1e-3)
        assert found.loc[(*place, "sensitivity_error"), "value"] == pytest.approx(error.item(), rel=1e-4)


def test_all_matrices_together_are_the_cell(tmp_path, tiny_model_folder, compressed):
    compress(tiny_model_folder, tmp_path / "cell", method="svd", level="k0.5")
    cell, dense = loading.load(tmp_path / "cell")[0], loading.load(tiny_model_folder)[0]
    watched = Watched(dense)
    with spliced(watched, compressed):
        torch.testing.assert_close(logits(dense, rows()[0]), logits(cell, rows()[0]))


def test_the_dense_model_is_itself_again_after_each_splice(tiny_model_folder, compressed):
    model = loading.load(tiny_model_folder)[0]
    before, layers = logits(model, rows()[0]), dict(model.named_modules())
    list(sensitivities(Watched(model), compressed, rows(), "task"))
    assert torch.equal(logits(model, rows()[0]), before) and dict(model.named_modules()) == layers
    with pytest.raises(ZeroDivisionError), spliced(Watched(model), compressed):
        1 / 0  # noqa: B018
    assert torch.equal(logits(model, rows()[0]), before)


def test_a_matrix_that_stays_what_it_is_does_nothing(tmp_path, tiny_model_folder):
    nothing = cell_of(tiny_model_folder, tmp_path / "cell", "magnitude", "0.0")
    found = table(sensitivities(Watched(loading.load(tiny_model_folder)[0]), nothing, rows(), "task"))
    assert found.value.abs().max() < 1e-6


def test_rounded_inputs_count_as_error(tmp_path, tiny_model_folder, tiny_calibration_folder):
    w8a8 = cell_of(
        tiny_model_folder, tmp_path / "cell", "smoothquant", "w8a8", calibration_folder=tiny_calibration_folder
    )
    path = "model.layers.0.mlp.down_proj"
    watched = Watched(loading.load(tiny_model_folder)[0])
    found = table(sensitivities(watched, {path: w8a8[path]}, rows(), "task"))
    weights_alone = (w8a8[path].dense() - watched.model.get_submodule(path).weight).norm() ** 2
    weights_alone /= watched.model.get_submodule(path).weight.norm() ** 2
    assert found.loc[("1", "down_proj", "sensitivity_error"), "value"] > 1.5 * weights_alone.item()


@pytest.mark.parametrize(
    ("name", "metric"),
    [("BertModel", "sensitivity_state"), ("RobertaForMaskedLM", "sensitivity_kl"),
     ("BertForSequenceClassification", "sensitivity_kl")],
)  # fmt: skip
def test_encoders_are_spliced_by_what_their_head_says_or_by_their_states(tmp_path, tiny_tokenizer, name, metric):
    import transformers

    torch.manual_seed(0)
    found = getattr(transformers, name)
    found(found.config_class(**SMALL)).save_pretrained(tmp_path / "model")
    tiny_tokenizer.save_pretrained(tmp_path / "model")
    compressed = cell_of(tmp_path / "model", tmp_path / "cell")
    watched, texts = Watched(loading.load(tmp_path / "model")[0]), rows()
    found = table(sensitivities(watched, compressed, texts, "task"))
    assert set(found.index.get_level_values("metric")) == {"sensitivity_error", metric} and len(found) == 2 * 12 + 1
    assert (found.value > 0).all()
    if name == "BertForSequenceClassification":
        cell, far = loading.load(tmp_path / "cell")[0], []
        for text in texts:
            with torch.no_grad():
                p, q = (m(torch.tensor([text])).logits.log_softmax(-1) for m in (watched.model, cell))
            far.append((p.exp() * (p - q)).sum().item())
        assert found.loc[("all", "all", metric), "value"] == pytest.approx(np.mean(far), rel=1e-3)


def test_a_classifier_is_asked_pairs_as_it_was_fine_tuned_on(tmp_path):
    folder = finetuning_example.make_encoder(tmp_path / "model", "BertForSequenceClassification", num_labels=2)
    task = finetuning_example.write_folder(tmp_path, "entailment", finetuning_example.pairs(0, 20))
    compressed = cell_of(folder, tmp_path / "cell")
    model, tokenizer = loading.load(folder)
    found, types = Source(task, 10).asked(tokenizer, Watched(model))
    assert len(found) == 10 and found[0][0] == tokenizer.cls_token_id and found[0].count(tokenizer.sep_token_id) == 2
    assert [sum(kinds) for kinds in types] == [3] * 10  # two words and [SEP]
    rows_ = table(sensitivities(Watched(model), compressed, found, "entailment", types))
    cell, far = loading.load(tmp_path / "cell")[0], []
    for ids, kinds in zip(found, types, strict=True):
        inputs = {"input_ids": torch.tensor([ids]), "token_type_ids": torch.tensor([kinds])}
        with torch.no_grad():
            p, q = (m(**inputs).logits.log_softmax(-1) for m in (model, cell))
        far.append((p.exp() * (p - q)).sum().item())
    assert rows_.loc[("all", "all", "sensitivity_kl"), "value"] == pytest.approx(np.mean(far), rel=1e-3)
    bare = finetuning_example.make_encoder(tmp_path / "bare", "BertModel")
    texts, types = Source(task, 10).asked(tokenizer, Watched(loading.load(bare)[0]))
    assert types is None and texts[0].count(tokenizer.sep_token_id) == 1  # without a head it reads the premise


@pytest.fixture(scope="module")
def probe(tmp_path_factory):
    """Sentences that have a dog, or a cat; made up."""
    generator, found = np.random.default_rng(0), []
    for number in range(240):
        others = list(generator.choice([word for word in WORDS if word not in ("dog", "cat")], 6))
        label = ("dog", "cat")[number % 2]
        others.insert(int(generator.integers(6)), label)
        split = ("train", "train", "train", "validation", "test")[number // 2 % 5]
        found.append({"id": f"s{number}", "text": " ".join(others), "label": label, "split": split})
    return write(tmp_path_factory.mktemp("probes") / "animal", "sentence", found)


def write(path, kind, rows_):
    with atomic_folder(path) as folder:
        said = {"probe": path.name, "kind": kind, "source": "world", "summary": "made up"}
        (folder / f"{path.name}.yaml").write_text(yaml.safe_dump(said))
        (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows_))
    return path


def test_what_a_probe_loses_is_the_difference_of_its_accuracies(tiny_model_folder, compressed, probe):
    model, tokenizer = loading.load(tiny_model_folder)
    found = table(probe_drops(Watched(model), compressed, tokenizer, probe, 240))
    assert set(found.n) == {48} and set(found.task) == {"animal"} and len(found) == 2 * 15
    whole = LastLayer(Watched(model), tokenizer, probe, 240)
    dense = whole.states()
    with spliced(whole.watched, compressed):
        now = whole.states()
    trained = whole.trained(dense)
    before = whole.right(trained, dense).mean()
    assert before > 0.8
    frozen = before - whole.right(trained, now).mean()
    anew = before - whole.right(whole.trained(now), now).mean()
    assert found.loc[("all", "all", "sensitivity_probe_frozen"), "value"] == pytest.approx(frozen)
    assert found.loc[("all", "all", "sensitivity_probe"), "value"] == pytest.approx(anew)
    assert frozen > anew  # this cell moved its states
    inside = found[(found.low <= found.value) & (found.value <= found.high)]
    assert len(inside) == len(found)


def test_rows_of_a_probe_are_spread_over_its_data_and_other_kinds_are_refused(tmp_path, tiny_model_folder, probe):
    model, tokenizer = loading.load(tiny_model_folder)
    few = LastLayer(Watched(model), tokenizer, probe, 80)
    assert [row["id"] for row in few.rows] == [f"s{3 * number}" for number in range(80)]
    assert all(part.any() for part in (few.train, few.held, few.test))
    words = write(tmp_path / "tags", "word", [{"id": "0", "words": ["a"], "labels": ["x"], "split": "train"}])
    with pytest.raises(PalimpsestError, match="tags is a probe of kind word, not sentence"):
        LastLayer(Watched(model), tokenizer, words, 80)


def test_the_table_of_a_cell_has_its_name_in_every_row(tmp_path, tiny_model_folder, probe, monkeypatch):
    generator = np.random.default_rng(0)
    monkeypatch.setattr(study, "read_texts", lambda folder: [" ".join(generator.permutation(WORDS)) for _ in range(12)])
    compress(tiny_model_folder, tmp_path / "cell", method="svd", level="k0.5")
    who = {"model": "tiny", "label": "svd", "method": "svd", "level": "k0.5", "seed": 0, "recovery": "none"}
    arguments = (Source(tmp_path / "perplexity", 12), [probe], 100, tmp_path / "table")
    study.splice(tiny_model_folder, tmp_path / "cell", who, *arguments)
    found = pandas.read_parquet(tmp_path / "table")
    assert list(found.columns) == list(study.COLUMNS) and len(found) == 2 * 14 + 1 + 2 * 15
    assert set(found.level) == {"k0.5"} and set(found.task) == {"perplexity", "animal"}
