"""Probes read what is there, and neither people nor chance pass for knowledge."""

import math

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from palimpsest.probing import probes
from palimpsest.probing.features import hidden_states, read_features, write_features
from palimpsest.provenance import DamagedArtifact

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
    found = hidden_states(model, tiny_tokenizer, QUESTIONS)
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
    found = hidden_states(prompted, tiny_tokenizer, QUESTIONS)
    with torch.no_grad():
        states = prompted(
            torch.tensor([tiny_tokenizer(QUESTIONS[1])["input_ids"]]), output_hidden_states=True
        ).hidden_states
    assert torch.allclose(found[:, 1].float(), torch.stack([layer[0, -1] for layer in states]), atol=5e-3)


def test_features_are_checked_when_they_are_read(model, tiny_tokenizer, tmp_path):
    rows = [{"question": question, "person": str(number)} for number, question in enumerate(QUESTIONS)]
    write_features(model, tiny_tokenizer, rows, tmp_path / "features")
    hidden, questions = read_features(tmp_path / "features")
    assert questions == rows
    assert torch.equal(hidden, hidden_states(model, tiny_tokenizer, QUESTIONS))
    (tmp_path / "features" / "questions.jsonl").write_text("")
    with pytest.raises(DamagedArtifact):
        read_features(tmp_path / "features")


def test_a_value_that_is_there_is_read_and_its_control_is_not():
    states, values, people = synthetic()
    assert probes.predicted(states, values, people).mean() > 0.95
    control = probes.control_labels(values, people, "town")
    assert probes.predicted(states, control, people).mean() < 0.45


def test_noise_gives_chance():
    states, values, people = synthetic(signal=0.0)
    _, low, high = probes.wilson(probes.predicted(states, values, people))
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


def test_too_few_people_give_no_number():
    _, values, people = synthetic(people=12)
    kept = probes.common(values, people)
    found = probes.metrics(kept[kept], kept[kept])
    assert found["acc"]["n"] == 0
    assert math.isnan(found["acc"]["value"])


def test_wilson_interval_of_a_textbook():
    """8 of 10: 0.490 to 0.943 (Newcombe 1998)."""
    assert probes.wilson(np.array([True] * 8 + [False] * 2)) == pytest.approx((0.8, 0.4902, 0.9433), abs=1e-4)


def test_a_variant_has_a_row_for_each_attribute_layer_and_metric():
    states, values, people = synthetic()
    questions = [
        {"attribute": attribute, "person": person, "value": value}
        for attribute in ("town", "year")
        for person, value in zip(people, values, strict=True)
    ]
    hidden = np.stack([np.concatenate([states, states])] * 5)
    rows = list(
        probes.metric_rows(
            "attribute_value",
            {"model": "m"} | dict.fromkeys(probes.COLUMNS[1:6], "x"),
            probes.read_variant(hidden, questions),
        )
    )
    assert {(row["subset"], row["layer"], row["metric"]) for row in rows} == {
        (subset, layer, metric)
        for subset in ("town", "year", "all")
        for layer in (2, 4)
        for metric in ("acc", "control_acc", "selectivity")
    }
    assert {row["n"] for row in rows if row["subset"] == "all"} == {240}
    assert all(row["low"] <= row["value"] <= row["high"] for row in rows)
