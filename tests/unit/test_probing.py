"""Probes read what is there, and neither people nor chance pass for knowledge."""

import json

import numpy as np
import pytest
import torch
from statsmodels.stats.proportion import proportion_confint
from transformers import AutoModelForCausalLM

from palimpsest.probing import questions as probes
from palimpsest.probing.data import write_probe
from palimpsest.probing.features import read_features, write_features
from palimpsest.probing.states import last_states
from palimpsest.provenance import DamagedArtifact, PalimpsestError
from palimpsest.settings import Probe

QUESTIONS = ["question : where does Alba Kori live ? answer :", "the dog", "question : where does Ida Reus live ?"]


@pytest.fixture(scope="module")
def model(tiny_model_folder):
    return AutoModelForCausalLM.from_pretrained(tiny_model_folder).eval()


def synthetic(people=120, classes=4, width=24, signal=3.0, seed=0):
    generator = np.random.default_rng(seed)
    values = np.array([f"v{number % classes}" for number in range(people)])
    centres = generator.normal(size=(classes, width))
    states = generator.normal(size=(people, width)) + signal * centres[[int(value[1:]) for value in values]]
    return states.astype(np.float32), values, np.array([f"person {number}" for number in range(people)])


def test_features_are_the_hidden_states_of_the_last_token(model, tiny_tokenizer):
    found = last_states(model, tiny_tokenizer, QUESTIONS)
    assert found.shape == (3, 3, 32)
    for number, question in enumerate(QUESTIONS):
        ids = torch.tensor([tiny_tokenizer(question)["input_ids"]])
        with torch.no_grad():
            states = model(ids, output_hidden_states=True).hidden_states
        expected = torch.stack([layer[0, -1] for layer in states])
        assert torch.allclose(found[:, number].float(), expected, atol=5e-3)


def test_features_of_a_prompted_model_are_those_behind_its_prompt(tiny_model_folder, tiny_tokenizer):
    from peft import PromptTuningConfig, get_peft_model

    base = AutoModelForCausalLM.from_pretrained(tiny_model_folder).eval()
    prompted = get_peft_model(base, PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5)).eval()
    found = last_states(prompted, tiny_tokenizer, QUESTIONS)
    with torch.no_grad():
        states = prompted(
            torch.tensor([tiny_tokenizer(QUESTIONS[1])["input_ids"]]), output_hidden_states=True
        ).hidden_states
    assert torch.allclose(found[:, 1].float(), torch.stack([layer[0, -1] for layer in states]), atol=5e-3)


def probe_of(folder, people=3):
    """The rows of an attribute-value probe about so many people."""
    rows = [
        {"id": f"{number}/town", "person": str(number), "attribute": "town", "value": "Lund",
         "question": QUESTIONS[number % 3]}
        for number in range(people)
    ]  # fmt: skip
    (folder / "world" / "tasks").mkdir(parents=True)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "world" / "tasks" / "attribute_value.jsonl").write_text(text)
    write_probe("attribute_value", folder / "attribute_value", world=folder / "world")
    return folder / "attribute_value"


def test_features_are_checked_when_they_are_read(model, tiny_tokenizer, tmp_path):
    data, other = probe_of(tmp_path / "a"), probe_of(tmp_path / "b", people=2)
    write_features(model, tiny_tokenizer, {data: Probe()}, tmp_path / "features", model_digest="0" * 64)
    found = read_features(tmp_path / "features", "attribute_value", data)
    np.testing.assert_array_equal(found["last"], last_states(model, tiny_tokenizer, QUESTIONS).numpy())
    with pytest.raises(PalimpsestError, match="states of other rows"):
        read_features(tmp_path / "features", "attribute_value", other)
    path = tmp_path / "features" / "attribute_value.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(DamagedArtifact):
        read_features(tmp_path / "features", "attribute_value", data)


def test_a_value_that_is_there_is_read_and_its_control_is_not():
    states, values, people = synthetic()
    assert probes.predicted(states, values, people).mean() > 0.95
    control = probes.control_labels(values, people, "town")
    assert probes.predicted(states, control, people).mean() < 0.45


def test_noise_gives_chance():
    states, values, people = synthetic(signal=0.0)
    low, high = proportion_confint(probes.predicted(states, values, people).sum(), 120, method="wilson")
    assert low < 0.25 < high


def test_a_person_is_never_in_both_training_and_test():
    """Features that name the person and nothing else: a probe that had seen the person would be right."""
    people = np.repeat([f"person {number}" for number in range(60)], 3)
    values = np.array([f"v{int(person.split()[1]) % 2}" for person in people])
    states = np.eye(60, dtype=np.float32)[[int(person.split()[1]) for person in people]]
    assert probes.predicted(states, values, people).mean() < 0.7


def test_control_labels_have_the_distribution_of_the_task():
    _, values, people = synthetic(people=90, classes=5)
    control = probes.control_labels(values, people, "town")
    assert sorted(control) == sorted(values)
    assert (control != values).mean() > 0.5


def test_rare_classes_are_left_out():
    _, values, people = synthetic(people=80, classes=4)
    values = values.astype(object)
    values[values == "v3"] = [f"rare {number}" for number in range(20)]
    assert probes.common(values, people).sum() == 60


def test_an_outcome_for_each_attribute_and_layer():
    states, values, people = synthetic()
    rows = [
        {"id": f"{person}/{attribute}", "attribute": attribute, "person": person, "value": value}
        for attribute in ("town", "year")
        for person, value in zip(people, values, strict=True)
    ]
    hidden = np.stack([np.concatenate([states, states])] * 5)
    found = list(probes.outcomes({"last": hidden}, rows, Probe()))
    assert {(each.subset, each.layer) for each in found} == {("town", 2), ("town", 4), ("year", 2), ("year", 4)}
    for each in found:
        assert len(each.rows) == len(each.values) == len(each.controls) == 120
        by_id = {row["id"]: row["value"] for row in rows}
        right = [by_id[row] == said for row, said in zip(each.rows, each.said, strict=True)]
        np.testing.assert_array_equal(each.values, right)
    assert {each.layer for each in probes.outcomes({"last": hidden}, rows, Probe(layers=[1]))} == {1}


def test_too_few_people_are_an_outcome_without_rows():
    states, values, people = synthetic(people=12)
    rows = [
        {"id": person, "attribute": "town", "person": person, "value": value}
        for person, value in zip(people, values, strict=True)
    ]
    (found,) = probes.outcomes({"last": np.stack([states] * 2)}, rows, Probe())
    assert len(found.rows) == len(found.values) == 0
