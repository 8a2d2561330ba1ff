"""Sentence probes: states pooled as they should be whatever the batch, classifiers, controls, codelengths."""

from __future__ import annotations

import time
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from small_models import SPECIAL, WORDS
from statsmodels.stats.proportion import proportion_confint
from transformers import AutoModelForCausalLM, BertConfig, BertForMaskedLM, BertModel

from palimpsest.probing import classifiers, sentences
from palimpsest.probing.classifiers import fit
from palimpsest.probing.codelength import online, portions
from palimpsest.probing.control import control_labels
from palimpsest.probing.data import read_probe, write_probe
from palimpsest.probing.features import read_features, write_features
from palimpsest.provenance import PalimpsestError
from palimpsest.settings import Probe

TEXTS = [
    "the dog sees a cat .",
    "Alba Kori was born in Lund .",
    "the old house",
    "dog",
    "a cat likes the young dog and",
]


def rows_of(texts, **more):
    return [
        {"id": str(number), "text": text, "label": "a", "split": "train"} | more for number, text in enumerate(texts)
    ]


@pytest.fixture(scope="module")
def decoder(tiny_model_folder):
    return AutoModelForCausalLM.from_pretrained(tiny_model_folder).eval()


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return BertForMaskedLM(
        BertConfig(vocab_size=len(SPECIAL + WORDS) + 2, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
                   intermediate_size=48, max_position_embeddings=16, initializer_range=0.2)
    ).eval()  # fmt: skip


@pytest.fixture(scope="module")
def encoder_tokenizer():
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: number for number, word in enumerate([*SPECIAL, *WORDS, "[CLS]", "[SEP]"])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = [(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=special)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", cls_token="[CLS]", sep_token="[SEP]"
    )


def alone(model, tokenizer, text):
    """(layers + 1, tokens, width) of a text by itself."""
    with torch.no_grad():
        states = model(torch.tensor([tokenizer(text)["input_ids"]]), output_hidden_states=True).hidden_states
    return torch.stack([layer[0] for layer in states])


def test_mean_and_last_are_of_the_sentences_own_tokens(decoder, tiny_tokenizer):
    found = sentences.extract(decoder, tiny_tokenizer, rows_of(TEXTS), Probe(pooling=["mean", "last"]))
    for number, text in enumerate(TEXTS):
        own = alone(decoder, tiny_tokenizer, text)[:, 1:]  # behind <bos>
        assert torch.allclose(found["mean"][:, number].float(), own.mean(1), atol=5e-3)
        assert torch.allclose(found["last"][:, number].float(), own[:, -1], atol=5e-3)


def test_an_encoder_is_read_without_its_special_tokens_and_at_cls(encoder, encoder_tokenizer):
    found = sentences.extract(encoder, encoder_tokenizer, rows_of(TEXTS), Probe(pooling=["mean", "last", "cls"]))
    for number, text in enumerate(TEXTS):
        states = alone(encoder, encoder_tokenizer, text)
        assert torch.allclose(found["cls"][:, number].float(), states[:, 0], atol=5e-3)
        assert torch.allclose(found["mean"][:, number].float(), states[:, 1:-1].mean(1), atol=5e-3)
        assert torch.allclose(found["last"][:, number].float(), states[:, -2], atol=5e-3)


def test_a_model_without_a_head_gives_the_same_states(encoder, encoder_tokenizer):
    bare = BertModel(encoder.config, add_pooling_layer=False).eval()
    bare.load_state_dict(encoder.bert.state_dict())
    one, two = (sentences.extract(m, encoder_tokenizer, rows_of(TEXTS), Probe()) for m in (encoder, bare))
    assert torch.equal(one["mean"], two["mean"])


def test_states_do_not_depend_on_the_batch_or_the_order(decoder, tiny_tokenizer):
    texts = [" ".join(WORDS[start : start + 3 + start % 9]) for start in range(40)]
    together = sentences.extract(decoder, tiny_tokenizer, rows_of(texts), Probe())["mean"]
    backwards = sentences.extract(decoder, tiny_tokenizer, rows_of(texts[::-1]), Probe())["mean"]
    single = torch.cat(
        [sentences.extract(decoder, tiny_tokenizer, rows_of([text]), Probe())["mean"] for text in texts], 1
    )
    assert torch.equal(together, backwards.flip(1))
    assert torch.allclose(together.float(), single.float(), atol=2e-3)


def test_a_soft_prompt_stands_before_the_sentence(tiny_model_folder, tiny_tokenizer):
    from peft import PromptTuningConfig, get_peft_model

    base = AutoModelForCausalLM.from_pretrained(tiny_model_folder).eval()
    prompted = get_peft_model(base, PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5)).eval()
    found = sentences.extract(prompted, tiny_tokenizer, rows_of(TEXTS), Probe())["mean"]
    for number, text in enumerate(TEXTS):
        own = alone(prompted, tiny_tokenizer, text)[:, 6:]  # behind the prompt and <bos>
        assert torch.allclose(found[:, number].float(), own.mean(1), atol=5e-3)


def test_what_cannot_be_read_is_refused(decoder, tiny_tokenizer, encoder, encoder_tokenizer):
    with pytest.raises(PalimpsestError, match=r"pooling: cls, but .* no text with a \[CLS\] token .*mean"):
        sentences.extract(decoder, tiny_tokenizer, rows_of(TEXTS), Probe(pooling=["cls"]))
    with pytest.raises(
        PalimpsestError, match=r"row 1: 32 tokens do not fit .* context of 16\. Leave the row out or shorten"
    ):
        sentences.extract(encoder, encoder_tokenizer, rows_of(["dog", "dog " * 30]), Probe())
    with pytest.raises(PalimpsestError, match="row 1: an empty sentence"):
        sentences.extract(decoder, tiny_tokenizer, rows_of(["dog", " "]), Probe())


def synthetic(count=600, classes=3, width=32, signal=2.0, keys=12, seed=0):
    """States that show the label along a few directions, and the key along others; rows with their splits."""
    rng = np.random.default_rng(seed)
    labels, key = rng.integers(classes, size=count), rng.integers(keys, size=count)
    states = rng.normal(size=(count, width)) + signal * np.eye(classes, width)[labels]
    states += 6.0 * np.eye(keys, width, classes)[key]
    split = np.array(["train", "train", "validation", "test"])[np.arange(count) % 4]
    rows = [
        {"id": str(n), "text": "", "label": f"c{labels[n]}", "split": split[n], "key": f"k{key[n]}"}
        for n in range(count)
    ]
    return states.astype(np.float16), rows


def by_metric(found):
    return {(each.scoring, each.metric): each for each in found}


@pytest.mark.parametrize("name", ["linear", "mlp"])
def test_a_label_that_is_there_is_read_and_the_same_seed_gives_the_same_number(name):
    states, rows = synthetic(signal=4.0)
    one, two = (
        by_metric(sentences.outcomes({"mean": states[None]}, rows, Probe(classifiers=[name]))) for _ in range(2)
    )
    assert one[name, "acc"].values.mean() > 0.9
    for key, outcome in one.items():
        np.testing.assert_array_equal(outcome.values, two[key].values)
    assert one[name, "acc"].classes == 3
    assert list(one[name, "acc"].rows) == [row["id"] for row in rows if row["split"] == "test"]


def test_linear_is_logistic_regression_on_standardized_states_with_the_strength_that_validation_prefers():
    states, rows = synthetic(signal=1.0)
    labels = np.array([row["label"] for row in rows])
    train, validation, test = (np.array([row["split"] == s for row in rows]) for s in ("train", "validation", "test"))
    scaler = StandardScaler().fit(states[train].astype(float))
    scaled = {name: scaler.transform(states[rows_].astype(float)) for name, rows_ in
              (("train", train), ("validation", validation), ("test", test))}  # fmt: skip
    best = None
    for strength in classifiers.STRENGTHS:
        probe = LogisticRegression(C=strength, tol=1e-8, max_iter=2000).fit(scaled["train"], labels[train])
        scores = probe.decision_function(scaled["validation"])
        columns = np.searchsorted(probe.classes_, labels[validation])
        loss = (logsumexp(scores, axis=1) - scores[np.arange(len(scores)), columns]).mean()
        best = min(best or (np.inf, None), (loss, probe), key=lambda each: each[0])
    (found,) = [each for each in sentences.outcomes({"mean": states[None]}, rows, Probe()) if each.metric == "acc"]
    expected = best[1].predict(scaled["test"]) == labels[test]
    assert np.mean(found.values == expected) > 0.98  # the tolerance is coarser


def test_every_layer_and_pooling_is_probed_or_those_asked_for():
    states, rows = synthetic(count=120)
    features = {"mean": np.stack([states] * 3), "last": np.stack([states] * 3)}
    acc = [each for each in sentences.outcomes(features, rows, Probe(pooling=["mean", "last"])) if each.metric == "acc"]
    assert {(each.subset, each.layer) for each in acc} == {(p, n) for p in ("mean", "last") for n in range(3)}
    asked = sentences.outcomes(features, rows, Probe(pooling=["last"], layers=[0, 2]))
    assert {(each.subset, each.layer) for each in asked if each.metric == "acc"} == {("last", 0), ("last", 2)}


def test_a_layer_that_is_not_there_is_refused():
    states, rows = synthetic(count=120)
    with pytest.raises(PalimpsestError, match=r"layers: 5, but the model has 2\. Write numbers from 0"):
        list(sentences.outcomes({"mean": np.stack([states] * 3)}, rows, Probe(layers=[0, 5])))


def test_states_that_are_no_numbers_are_refused():
    states, rows = synthetic(count=120)
    states[7, 3] = np.inf
    with pytest.raises(PalimpsestError, match="layer 0: states that are no numbers"):
        list(sentences.outcomes({"mean": states[None]}, rows, Probe()))


def test_from_the_grammar_to_outcomes_by_way_of_the_files(decoder, tiny_tokenizer, tmp_path):
    (tmp_path / "world.json").write_text('{"seed": 0}')
    data, options = tmp_path / "bigram_shift", Probe(rows=100, pooling=["mean", "last"], layers=[2])
    write_probe("bigram_shift", data, world=tmp_path, rows=100)
    write_features(decoder, tiny_tokenizer, {data: options}, tmp_path / "features", model_digest="0" * 64)
    features, (_, rows) = read_features(tmp_path / "features", "bigram_shift", data), read_probe(data)
    assert {name: states.shape for name, states in features.items()} == dict.fromkeys(("mean", "last"), (3, 100, 32))
    acc = [each for each in sentences.outcomes(features, rows, options) if each.metric == "acc"]
    assert [len(each.values) for each in acc] == [30, 30]


def test_control_labels_belong_to_keys_and_are_distributed_as_the_labels():
    rng = np.random.default_rng(0)
    labels = rng.choice(["a", "b", "c"], p=[0.6, 0.3, 0.1], size=2000)
    keys = [f"verb{number}" for number in rng.integers(60, size=2000)]
    control = control_labels(labels, keys, salt="x")
    assert all(len(set(control[np.array(keys) == key])) == 1 for key in set(keys))
    for label in "abc":
        assert abs(np.mean(control == label) - np.mean(labels == label)) < 0.05
    assert (control == control_labels(labels, keys, salt="x")).all()
    assert (control != control_labels(labels, keys, salt="y")).any()
    assert control_labels(labels, ["same"] * 2000, salt="x") is None


def test_what_a_probe_remembers_of_keys_is_its_control_accuracy():
    states, rows = synthetic(signal=0.0)
    found = by_metric(sentences.outcomes({"mean": states[None]}, rows, Probe()))["linear", "acc"]
    assert found.controls.mean() > 0.9 > found.values.mean() + 0.4


def within(outcome, share):
    """Whether the share lies in Wilson's interval of the rows that are right."""
    low, high = proportion_confint(outcome.values.sum(), len(outcome.values), method="wilson")
    return low <= share <= high


def test_random_weights_read_nothing_from_labels_dealt_out_at_random(tiny_model_folder, tiny_tokenizer):
    """At the majority class within their interval; of what recurs, such as a verb, even they remember something."""
    model = AutoModelForCausalLM.from_pretrained(tiny_model_folder).eval()
    rng = np.random.default_rng(0)
    verbs, others = (
        ["sees", "likes", "works", "lives", "was", "is"],
        ["dog", "cat", "house", "red", "old", "who", "the"],
    )
    rows = []
    for number in range(800):
        key = rng.choice(verbs)
        text = " ".join(
            [*rng.choice(others, size=rng.integers(1, 4)), key, *rng.choice(others, size=rng.integers(1, 4))]
        )
        split = ("train", "train", "test", "train", "validation", "test")[number % 6]
        rows.append({"id": str(number), "text": text, "label": "ab"[number // 6 % 2], "split": split, "key": str(key)})
    features = sentences.extract(model, tiny_tokenizer, rows, Probe())
    found = list(sentences.outcomes({"mean": features["mean"].numpy()}, rows, Probe()))
    (majority,) = [each.values.mean() for each in found if each.metric == "majority"]
    shuffled = [each for each in found if each.metric == "shuffled"]
    assert len(shuffled) == 3 and all(within(each, majority) for each in shuffled)
    remembered = [each.controls.mean() for each in found if each.metric == "acc"]
    assert min(remembered) > majority + 0.2


def test_majority_is_the_label_most_frequent_in_training():
    rows = [{"id": str(n), "text": "", "label": "ab"[n < 8], "split": "train"} for n in range(12)]
    rows += [{"id": f"t{n}", "text": "", "label": "ab"[n < 3], "split": "test"} for n in range(10)]
    rows += [{"id": f"v{n}", "text": "", "label": "ab"[n < 2], "split": "validation"} for n in range(4)]
    states = np.random.default_rng(0).normal(size=(1, len(rows), 4))
    (found,) = [each for each in sentences.outcomes({"mean": states}, rows, Probe()) if each.metric == "majority"]
    assert found.values.tolist() == [1.0] * 3 + [0.0] * 7 and found.controls is None


def test_portions_are_those_of_voita_and_titov():
    assert list(portions(10_000)) == [
        (10, 20), (20, 40), (40, 80), (80, 160), (160, 320), (320, 625), (625, 1250), (1250, 2500), (2500, 5000),
        (5000, 10_000),
    ]  # fmt: skip
    assert list(portions(30))[-1][1] == 30


def test_codelength_is_what_an_independent_computation_says():
    """The same code by hand: a probe of scikit-learn's on every prefix, its probabilities mixed with uniform ones."""
    states, rows = synthetic(count=400, signal=3.0)
    labels, classes = np.array([int(row["label"][1]) for row in rows]), 3
    states, held = states.astype(np.float32), (states[300:].astype(np.float32), labels[300:])
    found = online("linear", states[:300], labels[:300], classes, held)
    ends = [1, 2, 5, 10, 19, 38, 75, 150, 300]  # 0.2 … 100 % of 300; 0.1 % is less than a row
    expected = [np.log2(classes)] * ends[0]
    for start, stop in pairwise(ends):
        for row in range(start, stop):
            seen = sorted(set(labels[:start]))
            if len(seen) == 1:
                said = {seen[0]: 1.0}
            else:
                if row == start:
                    probe = fit("linear", states[:start], labels[:start], held)
                said = dict(zip(probe.classes, probe.probabilities(states[row : row + 1])[0], strict=True))
            probability = (start * said.get(labels[row], 0.0) + 1) / (start + classes)
            expected.append(-np.log2(probability))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_labels_that_lie_open_take_fewer_bits_than_hidden_ones_and_chance_none_fewer():
    bits = []
    for signal in (6.0, 1.5, 0.0):
        states, rows = synthetic(count=800, signal=signal)
        found = by_metric(sentences.outcomes({"mean": states[None]}, rows, Probe(codelength=True)))[
            "linear", "codelength"
        ]
        assert len(found.values) == Counter(row["split"] for row in rows)["train"]
        bits.append(found.values.sum() / (len(found.values) * np.log2(3)))
    assert bits[0] < 0.3 < bits[1] < bits[2] and bits[2] > 0.95


@pytest.mark.long
@pytest.mark.parametrize("width", [128, 384])
def test_ten_probes_on_a_layer_take_at_most_thirty_seconds(width):
    started = time.process_time()
    for number in range(10):
        states, rows = synthetic(count=2000, classes=(2, 6, 16)[number % 3], width=width, signal=1.0, seed=number)
        list(sentences.outcomes({"mean": states[None]}, rows, Probe()))
    assert time.process_time() - started < 30
