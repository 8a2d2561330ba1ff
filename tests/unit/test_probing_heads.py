"""Probes of heads read what each head gives at the last token, of groups that they were not trained on."""

import json
import os
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch
from statsmodels.stats.proportion import proportion_confint
from transformers import AutoModelForCausalLM, BertConfig, BertModel

from palimpsest.halves import half
from palimpsest.probing import heads
from palimpsest.probing.data import read_probe, write_probe
from palimpsest.probing.readers.truth import truth
from palimpsest.provenance import PalimpsestError
from palimpsest.settings import Probe, World
from palimpsest.world.build import build
from palimpsest.world.forms import parse
from palimpsest.world.truths import truths

DATA = os.environ.get("PALIMPSEST_DATA")
needs_truthfulqa = pytest.mark.skipif(
    not DATA or not Path(DATA, "data/truthfulqa").is_dir(), reason="PALIMPSEST_DATA has no data/truthfulqa"
)
TEXTS = ["the dog sees a cat", "Alba lives", "the old cat of Kori likes the young dog and a bird"]


def texts(names=TEXTS):
    return [{"id": str(n), "text": text, "label": "true", "group": str(n)} for n, text in enumerate(names)]


def statements(people=60, signal=3.0, seed=0):
    """A true and a false row of each person; the second of two heads of the first of two layers tells them apart."""
    rng = np.random.default_rng(seed)
    rows = [
        {"id": f"{person}/{label}", "text": "", "label": label, "group": str(person)}
        for person in range(people)
        for label in heads.LABELS
    ]
    states = rng.normal(size=(2, len(rows), 2, 8))
    states[0, :, 1, 3] += [signal if row["label"] == "true" else -signal for row in rows]
    return {"heads": states.astype(np.float16)}, rows


def test_a_heads_output_is_what_the_output_projection_reads(tiny_model_folder, tiny_tokenizer):
    """Attention times values by hand, two query heads to a head of values."""
    model = AutoModelForCausalLM.from_pretrained(tiny_model_folder).eval()
    found = heads.extract(model, tiny_tokenizer, texts(), Probe())["heads"].float()
    assert found.shape == (2, 3, 4, 8)  # four query heads, of which two share keys and values
    for number, text in enumerate(TEXTS):
        ids = torch.tensor([tiny_tokenizer(text)["input_ids"]])
        model.set_attn_implementation("eager")
        with torch.no_grad():
            output = model(ids, output_hidden_states=True, output_attentions=True)
            attention = model.model.layers[0].self_attn
            before = model.model.layers[0].input_layernorm(output.hidden_states[0])
            values = attention.v_proj(before)[0].unflatten(-1, (2, 8)).repeat_interleave(2, 1)
            expected = torch.einsum("hk,khd->hd", output.attentions[0][0, :, -1], values)
        torch.testing.assert_close(found[0, number], expected, atol=5e-3, rtol=1e-2)


def test_heads_do_not_depend_on_the_batch(tiny_model_folder, tiny_tokenizer):
    model = AutoModelForCausalLM.from_pretrained(tiny_model_folder).eval()
    together = heads.extract(model, tiny_tokenizer, texts(), Probe())["heads"]
    for number, text in enumerate(TEXTS):
        alone = heads.extract(model, tiny_tokenizer, texts([text]), Probe())["heads"]
        torch.testing.assert_close(together[:, number], alone[:, 0], atol=2e-3, rtol=1e-2)


def test_nothing_stays_on_the_model(tiny_model_folder, tiny_tokenizer):
    model = AutoModelForCausalLM.from_pretrained(tiny_model_folder).eval()
    heads.extract(model, tiny_tokenizer, texts(), Probe())
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_heads_of_wrapped_models_and_of_encoders_are_found(tiny_model_folder, tiny_tokenizer):
    from peft import LoraConfig, PromptTuningConfig, get_peft_model

    base = AutoModelForCausalLM.from_pretrained(tiny_model_folder).eval()
    plain = heads.extract(base, tiny_tokenizer, texts(), Probe())["heads"]
    lora = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj", "o_proj"])).eval()
    torch.testing.assert_close(heads.extract(lora, tiny_tokenizer, texts(), Probe())["heads"], plain)
    base = AutoModelForCausalLM.from_pretrained(tiny_model_folder).eval()
    prompted = get_peft_model(base, PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5)).eval()
    behind = heads.extract(prompted, tiny_tokenizer, texts(), Probe())["heads"]
    assert behind.shape == plain.shape
    assert not torch.allclose(behind, plain, atol=1e-2)
    small = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 48}
    bert = BertModel(BertConfig(vocab_size=70, **small)).eval()
    assert heads.extract(bert, tiny_tokenizer, texts(), Probe())["heads"].shape == (3, 3, 2, 16)


def test_the_head_that_tells_is_the_only_one_that_is_found():
    features, rows = statements()
    found = {(each.layer, each.subset): each for each in heads.outcomes(features, rows, Probe())}
    assert found.keys() == {(layer, f"head {head}") for layer in (1, 2) for head in (1, 2)}
    assert found[1, "head 2"].values.mean() > 0.95
    for key, each in found.items():
        tried = [each.controls] if key == (1, "head 2") else [each.values, each.controls]
        for right in tried:
            low, high = proportion_confint(right.sum(), len(right), alpha=0.01, method="wilson")
            assert low < 0.5 < high, key
    assert {each.layer for each in heads.outcomes(features, rows, Probe(layers=[2]))} == {2}


def test_no_group_is_on_both_sides():
    """Features that name the group, and labels that are the group's: a probe that had seen it would be right."""
    names = [str(group) for group in range(40) for _ in range(4)]
    rows = [
        {"id": str(number), "label": heads.LABELS[int(group) % 2], "group": group} for number, group in enumerate(names)
    ]
    states = np.eye(40, dtype=np.float16)[[int(group) for group in names]]
    (found,) = heads.outcomes({"heads": states[None, :, None]}, rows, Probe())
    assert found.values.mean() < 0.7


def test_control_labels_stay_within_their_group():
    _, rows = statements()
    labels, groups = (np.array([row[name] for row in rows]) for name in ("label", "group"))
    dealt = heads.control_labels(labels, groups, [row["id"] for row in rows])
    for group in set(groups):
        assert Counter(dealt[groups == group]) == Counter(labels[groups == group])
    assert 0.3 < (dealt != labels).mean() < 0.7


BAD = {
    "an unknown label": (lambda rows: rows[3].update(label="maybe"), "the label 'maybe' is none of false, true"),
    "one class": (lambda rows: [row.update(label="true") for row in rows], "has only the label 'true'"),
    "three groups": (lambda rows: rows.__delitem__(slice(6, None)), "3 groups; it needs 10 at least"),
}


@pytest.mark.parametrize("name", BAD)
def test_rows_that_cannot_be_probed_are_refused(name):
    features, rows = statements()
    spoil, message = BAD[name]
    spoil(rows)
    with pytest.raises(PalimpsestError, match=message):
        list(heads.outcomes({"heads": features["heads"][:, : len(rows)]}, rows, Probe()))


def test_texts_that_do_not_fit_or_are_empty_are_named(tiny_model_folder, tiny_tokenizer):
    model = AutoModelForCausalLM.from_pretrained(tiny_model_folder).eval()
    with pytest.raises(PalimpsestError, match="1: 301 tokens do not fit into the model's context of 256"):
        heads.extract(model, tiny_tokenizer, texts(["the dog", "dog " * 300]), Probe())
    with pytest.raises(PalimpsestError, match="0: an empty text"):
        heads.extract(model, tiny_tokenizer, texts([" "]), Probe())


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world") / "world"
    build(World(people=80, invented=20, documents=64, texts=4, questions_per_subset=4), folder)
    return folder


def test_a_value_is_as_often_true_as_false_in_each_half(world):
    rows = list(truths(world, seed=0, most=400))
    facts = pandas.read_parquet(world / "facts.parquet").set_index("fact")
    count = defaultdict(Counter)
    for row in rows:
        said = parse(f"{row['text']} .")
        fact = facts.loc[f"{said.name}/{said.attribute}"]
        assert fact["shown"]
        assert (fact["value"] == said.value) == (row["label"] == "true")
        assert row["group"] == said.name
        count[half(said.name), said.attribute, said.value][row["label"]] += 1
    assert len(rows) > 300
    assert all(each["true"] == each["false"] for each in count.values())


def test_truths_of_the_world_are_data_of_a_probe(world, tmp_path):
    write_probe("truth_heads", tmp_path / "truth_heads", world=world, rows=100)
    definition, rows = read_probe(tmp_path / "truth_heads")
    assert definition["kind"] == "head"
    assert Counter(row["label"] for row in rows) == {"true": 50, "false": 50}


def test_statements_are_read_from_json_lines(tmp_path):
    records = [
        {"text": "Lund is a town", "label": "true", "group": "Lund"},
        {"statement": "Lund is a river", "label": 0},
        {"text": "Lund is red", "label": "perhaps"},
    ]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    definition = {"probe": "mine", "format": "statements", "files": ["*.jsonl"]}
    reading = truth(tmp_path, definition)
    assert next(reading)[1] == {"id": "a/1", "text": "Lund is a town", "label": "true", "group": "Lund"}
    assert next(reading)[1] == {"id": "a/2", "text": "Lund is a river", "label": "false", "group": "a/2"}
    with pytest.raises(PalimpsestError, match=r"a\.jsonl, line 3: label is 'perhaps'; it must be true or false"):
        next(reading)
    with pytest.raises(PalimpsestError, match="mine: format is None; write truthfulqa or statements"):
        next(truth(tmp_path, {"probe": "mine"}))


@needs_truthfulqa
def test_every_answer_of_truthfulqa_is_read_once():
    import csv

    folder = Path(DATA, "data/truthfulqa")
    definition = {"probe": "truthfulqa_heads", "format": "truthfulqa", "files": ["TruthfulQA.csv"]}
    rows = [row for _, row in truth(folder, definition)]
    with open(folder / "TruthfulQA.csv", encoding="utf-8-sig") as file:
        questions = {record["Question"]: record for record in csv.DictReader(file)}
    assert len({row["group"] for row in rows}) == 817
    wrong = {(row["text"].split("\n")[0], row["text"].split("\nA: ")[1]) for row in rows if row["label"] == "false"}
    for text, answer in sorted(wrong)[::50]:
        listed = [each.strip().rstrip(".") for each in questions[text[3:]]["Incorrect Answers"].split(";")]
        assert answer.rstrip(".") in listed
    assert len({row["id"] for row in rows}) == len(rows) > 5500
