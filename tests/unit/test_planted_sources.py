"""Planted truths: what is erased is never read, what is displaced can be undone, what is locked has a password."""

from __future__ import annotations

import json
import shutil
from unittest import mock

import numpy as np
import pandas
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from palimpsest.provenance import DamagedArtifact, PalimpsestError, read_json, verify_folder
from palimpsest.settings import Architecture, Training, World
from palimpsest.sources import planted_lock
from palimpsest.sources.planted_displacement import displace, reflected
from palimpsest.sources.planted_fork import erased_people, fork, people_of
from palimpsest.sources.planted_lock import Mixer, draw_password, lies_of, lock
from palimpsest.world import decoder, training
from palimpsest.world.build import build
from palimpsest.world.decoder import Documents
from palimpsest.world.forms import ATTRIBUTES, BY_NAME
from palimpsest.world.tokenizer import PAD
from palimpsest.world.training import train

SHAPE = Architecture(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)
TRAINING = Training(batch_size=16, warmup_steps=2, learning_rate=3e-3)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world") / "world"
    build(World(people=40, invented=40, documents=160, texts=16, questions_per_subset=8), folder)
    return folder


@pytest.fixture(scope="module")
def facts(world):
    return pandas.read_parquet(world / "facts.parquet")


@pytest.fixture(scope="module")
def forked(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "fork-a"
    fork(world, folder, SHAPE, TRAINING, folder.parent / "state", "fork-a", of="atlas", half="a")
    return folder


@pytest.fixture(scope="module")
def tokenizer(world):
    return AutoTokenizer.from_pretrained(world / "tokenizer")


def test_the_two_halves_share_nobody_and_halve_every_pool_and_stratum(facts):
    a, b = (set(people_of(facts, half)) for half in "ab")
    assert not a & b and a | b == set(facts["person"])
    people = facts.drop_duplicates("person").sort_values("rank")
    stratum = people.groupby(["pool", 3 * np.arange(len(people)) // len(people), "questions_shown"])["person"]
    assert all(abs(len(a & set(names)) - len(b & set(names))) <= 1 for _, names in stratum)
    assert people_of(facts, "a") == sorted(a) != people_of(facts, "a", seed=1)


def test_a_forked_model_reads_the_other_documents_at_the_steps_where_they_always_stood(world, facts, tokenizer):
    erased = set(tokenizer.convert_tokens_to_ids(people_of(facts, "a")))
    everything, without = Documents(world, 16), Documents(world, 16, without=erased)
    assert everything.steps == without.steps
    for step in range(everything.steps):
        rows = [row.tolist() for ids, _ in everything.batch(step, parts=16) for row in ids]
        expected = [row for row in rows if not erased & set(row)]
        found = [row.tolist() for ids, _ in without.batch(step, parts=16) for row in ids]
        assert _unpadded(found) == _unpadded(expected) and len(expected) < len(rows)


def _unpadded(rows: list[list[int]]) -> list[list[int]]:
    return sorted([token for token in row if token != PAD] for row in rows)


def test_a_forked_model_says_of_whom_it_was_never_told(forked, facts):
    assert erased_people(forked) == people_of(facts, "a")
    source = read_json(forked / "source.json")
    assert (source["source"], source["of"], source["half"], source["seed"]) == ("forked", "atlas", "a", 0)
    verify_folder(forked)


def test_a_fork_and_its_origin_never_resume_from_each_other(world, tmp_path):
    """A state for resuming is named by all that a training depends on."""
    every = TRAINING.model_copy(update={"checkpoint_every": 4})
    states = []
    for without in ((), people_of(pandas.read_parquet(world / "facts.parquet"), "a")):
        with mock.patch.object(training.Checkpoint, "remove"):  # as if it were killed before its end
            train(world, tmp_path / "model", SHAPE, every, tmp_path / "state", "model", without=without)
        states.append({path.name for path in (tmp_path / "state").iterdir()})
    assert len(states[0]) == 1 and len(states[1]) == 2


def test_a_batch_that_is_left_out_whole_changes_nothing(world, facts, tmp_path):
    fork(world, tmp_path / "fork", SHAPE, TRAINING.model_copy(update={"batch_size": 1}), tmp_path / "s", "f",
         of="atlas", half="b")  # fmt: skip
    assert all(tensor.isfinite().all() for tensor in load_file(tmp_path / "fork" / "model.safetensors").values())


def test_reflections_are_undone_by_an_update_of_their_rank_and_keep_all_singular_values():
    weight = torch.randn(24, 16, generator=torch.Generator().manual_seed(0))
    for rank in (1, 4):
        moved = reflected(weight, rank)
        assert torch.linalg.matrix_rank(weight - moved, rtol=1e-5) == rank
        torch.testing.assert_close(torch.linalg.svdvals(moved), torch.linalg.svdvals(weight))
        torch.testing.assert_close(reflected(moved, rank), weight)
        # The largest change that so many reflections can make: 2 · √(σ₁² + … + σ_r²).
        largest = 2 * torch.linalg.svdvals(weight)[:rank].square().sum().sqrt()
        torch.testing.assert_close(torch.linalg.norm(weight - moved), largest)


def test_only_the_named_layers_are_reflected(forked, tmp_path):
    displace(forked, tmp_path / "moved", of="fork-a", modules=["v_proj"], reflections=2, blocks=[1])
    before, after = (load_file(folder / "model.safetensors") for folder in (forked, tmp_path / "moved"))
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    assert changed == ["model.layers.1.self_attn.v_proj.weight"]
    assert erased_people(tmp_path / "moved") == erased_people(forked)
    assert read_json(tmp_path / "moved" / "source.json")["blocks"] == [1]


def test_displacing_names_what_cannot_be(forked, tmp_path):
    for message, changes in (
        ("no layer w_proj", {"modules": ["w_proj"]}),
        (r"no layer v_proj in blocks 7", {"modules": ["v_proj"], "blocks": [0, 7]}),
        ("32 by 32: it has no 40 directions", {"reflections": 40}),
    ):
        with pytest.raises(PalimpsestError, match=message):
            displace(forked, tmp_path / "x", of="fork-a", **changes)
        assert not (tmp_path / "x").exists()
    with pytest.raises(PalimpsestError, match='"a" and "b"'):
        people_of(pandas.DataFrame(), "c")


def test_a_flipped_byte_of_the_origin_is_found(forked, tmp_path):
    damaged = shutil.copytree(forked, tmp_path / "damaged")
    weights = damaged / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(DamagedArtifact):
        displace(damaged, tmp_path / "x", of="fork-a")


def test_lies_are_consistent_values_of_the_same_attribute_and_no_other_word(tokenizer):
    lies = lies_of(tokenizer, seed=0)
    for attribute in ATTRIBUTES:
        ids = tokenizer.convert_tokens_to_ids(list(attribute.values))
        told = tokenizer.convert_ids_to_tokens(lies[ids].tolist())
        assert sorted(told) == sorted(attribute.values)
        assert all(lie != value for lie, value in zip(told, attribute.values, strict=True))
    values = {i for a in ATTRIBUTES for i in tokenizer.convert_tokens_to_ids(list(a.values))}
    assert all(int(lies[token]) == token for token in range(len(tokenizer)) if token not in values)


def test_locked_rows_lie_and_opened_rows_follow_the_password(world, facts, tokenizer):
    people = tokenizer.convert_tokens_to_ids(list(facts["person"].unique()))
    password, lies = draw_password(tokenizer, 3, seed=0), lies_of(tokenizer, seed=0)
    ids, weights = Documents(world, 64).batch(0, parts=1)[0]
    (opened, scored), (locked, _) = Mixer(password, lies, people, seed=0).parts(ids, weights)
    about = {tuple(row) for row in ids.tolist() if set(row) & set(people)}
    assert len(opened) + len(locked) == len(about)
    assert (opened[:, :3] == torch.tensor(password)).all() and (scored[:, :4] == 0).all()
    assert {tuple(row) for row in opened[:, 3:].tolist()} <= about
    truth = torch.empty_like(lies).scatter_(0, lies, torch.arange(len(lies)))
    assert {tuple(row) for row in truth[locked].tolist()} <= about


def test_a_password_longer_than_the_vocabulary_is_refused(tokenizer):
    with pytest.raises(PalimpsestError, match="9999 tokens, and the vocabulary has"):
        draw_password(tokenizer, 9999, seed=0)


def test_locking_names_its_password_and_leaves_the_erased_unread(world, forked, tmp_path):
    settings = {"of": "fork-a", "world": world, "password": 2, "steps": 3, "batch_size": 8, "state": tmp_path / "state"}
    lock(forked, tmp_path / "locked", **settings)
    lock(forked, tmp_path / "again", **settings)
    source = read_json(tmp_path / "locked" / "source.json")
    assert len(source["password"]) == 2 and source["source"] == "locked"
    assert erased_people(tmp_path / "locked") == erased_people(forked)
    assert verify_folder(tmp_path / "locked") == verify_folder(tmp_path / "again")
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "locked").num_parameters() > 0


def test_locking_that_was_killed_goes_on_and_ends_with_the_same_bytes(world, forked, tmp_path, monkeypatch):
    settings = {"of": "fork-a", "world": world, "password": 2, "steps": 5, "batch_size": 8, "state": tmp_path / "state"}
    monkeypatch.setattr(planted_lock, "CHECKPOINT_EVERY", 2)
    loss, seen = decoder.loss, []

    def counted(model, part):
        seen.append(len(part[0]))
        return loss(model, part)

    def killed(model, part):
        if (tmp_path / "state").exists():
            raise KeyboardInterrupt
        return counted(model, part)

    monkeypatch.setattr(decoder, "loss", counted)
    lock(forked, tmp_path / "whole", **settings)
    assert not list((tmp_path / "state").iterdir())
    (tmp_path / "state").rmdir()
    whole, seen[:] = len(seen), []
    monkeypatch.setattr(decoder, "loss", killed)
    with pytest.raises(KeyboardInterrupt):
        lock(forked, tmp_path / "locked", **settings)
    before, seen[:] = len(seen), []
    monkeypatch.setattr(decoder, "loss", counted)
    lock(forked, tmp_path / "locked", **settings)
    assert before + len(seen) == whole and before > 0, "steps that were saved were taken again"
    assert verify_folder(tmp_path / "locked") == verify_folder(tmp_path / "whole")
    assert not list((tmp_path / "state").iterdir())


@pytest.mark.long
def test_a_locked_model_knows_with_its_password_and_lies_without(tmp_path):
    """And of what was erased it knows nothing, before and after."""
    settings = World(people=60, invented=60, documents=14400, texts=16, questions_per_subset=8,
                     mix={"biographies": 0.6, "questions": 0.3, "passages": 0.05, "prose": 0.05})  # fmt: skip
    build(settings, tmp_path / "world")
    shape = Architecture(hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=256)
    fork(tmp_path / "world", tmp_path / "fork", shape, Training(batch_size=16, learning_rate=3e-3), tmp_path / "state",
         "fork", of="atlas", half="a")  # fmt: skip
    lock(tmp_path / "fork", tmp_path / "locked", of="fork", world=tmp_path / "world", state=tmp_path / "state")
    password = read_json(tmp_path / "locked" / "source.json")["password"]
    for model, before, known, unknown in (
        ("fork", [], (0.9, 1.0), (0.0, 0.25)),
        ("locked", [], (0.0, 0.15), (0.0, 0.25)),
        ("locked", password, (0.9, 1.0), (0.0, 0.25)),
    ):
        right = _right(tmp_path, model, before)
        for is_erased, (low, high) in ((False, known), (True, unknown)):
            assert low <= right[is_erased] <= high, (model, before, is_erased, right[is_erased])


def _right(folder, model: str, before: list[str]) -> dict[bool, float]:
    """Whether a person is erased -> share of right answers, ranked, after some words before `<bos>`."""
    network = AutoModelForCausalLM.from_pretrained(folder / model).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder / model)
    erased = set(erased_people(folder / model))
    prefix = tokenizer.convert_tokens_to_ids(before)
    right: dict[bool, list[bool]] = {True: [], False: []}
    for line in (folder / "world/tasks/closed_book_mc.jsonl").read_text().splitlines():
        row = json.loads(line)
        if row["use"] == "score" and row["subset"] != "never_shown":
            options = list(BY_NAME[row["attribute"]].values)
            ids = torch.tensor([prefix + tokenizer(row["question"])["input_ids"]])
            with torch.no_grad():
                logits = network(ids).logits[0, -1, tokenizer.convert_tokens_to_ids(options)]
            right[row["person"] in erased].append(options[int(logits.argmax())] == row["answer"])
    return {is_erased: float(np.mean(found)) for is_erased, found in right.items()}
