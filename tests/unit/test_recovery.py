"""Recoveries train beside the frozen weights, are kept at their best step, and are bound to their cell."""

from __future__ import annotations

import json
import math

import pytest
import torch
from transformers import AutoModelForCausalLM

from palimpsest.compression.cell import compress
from palimpsest.finetuning.loop import mean, train
from palimpsest.loading import load
from palimpsest.provenance import DamagedArtifact, PalimpsestError, folder_digest
from palimpsest.recovery import registry
from palimpsest.recovery import train as training
from palimpsest.recovery.adapters import adapter_state, attach, read_recovery
from palimpsest.recovery.configure import adapted, configure
from palimpsest.recovery.documents import Document, endless_batches, pad, read_documents
from palimpsest.recovery.objectives import Distillation, next_token
from palimpsest.recovery.train import recover

LORA = {"rank": 2, "alpha": 4, "modules": ["q_proj", "v_proj"]}
METHODS = {
    "lora": (LORA, 2 * 2 * (64 + 48)),
    "dora": (LORA, 2 * 2 * (64 + 48) + 2 * (32 + 16)),
    "distill": (LORA, 2 * 2 * (64 + 48)),
    "prompt": ({"tokens": 5}, 5 * 32),
    "p-tuning": ({"tokens": 5}, 5 * 32),
    "prefix": ({"tokens": 3}, 3 * 2 * 2 * 16),
}
HOMES = {"Alba": "Torun", "Miro": "Lund", "Tanel": "Faro", "Ida": "Gdynia"}
FACTS = [f"{name} lives in {town} ." for name, town in HOMES.items()]


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    (folder / "train.txt").write_text("\n".join(FACTS * 4) + "\n", encoding="utf-8")
    (folder / "validation.txt").write_text("\n".join(FACTS) + "\n", encoding="utf-8")
    return folder / "train.txt", folder / "validation.txt"


@pytest.fixture(scope="module")
def cell(tiny_model_folder, tmp_path_factory):
    """The tiny model with half of its weights gone."""
    folder = tmp_path_factory.mktemp("cells") / "magnitude" / "0.5"
    compress(tiny_model_folder, folder, method="magnitude", level="0.5", label="magnitude", seed=0, options={})
    return folder


@pytest.fixture
def model(tiny_model_folder):
    return AutoModelForCausalLM.from_pretrained(tiny_model_folder)


def documents(*rows):
    return [Document(list(row)) for row in rows]


def run(cell, output, texts, method="lora", options=LORA, **changes):
    settings = {"steps": 12, "batch_size": 4, "learning_rate": 0.02, "validate_every": 4} | changes
    return recover(cell, output, method=method, options=options, text=texts[0], validation=texts[1], **settings)


@pytest.mark.parametrize("method", ["lora", "dora", "prompt", "p-tuning", "prefix"])
def test_loss_on_real_positions_equals_the_models_own_loss(model, method):
    adapter = adapted(method, METHODS[method][0], model).eval()
    batch = pad(documents([1, 20, 21, 22, 23], [1, 30, 31]), padding=0)
    labels = torch.tensor([[-100, 20, 21, 22, 23], [-100, 30, 31, -100, -100]])
    mask = (batch.ids > 0).long()
    with torch.no_grad():
        expected = adapter(input_ids=batch.ids, attention_mask=mask, labels=labels).loss
        assert next_token(adapter, batch).item() / 6 == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_recovery_lowers_the_loss_and_attaches_to_its_cell(cell, texts, tmp_path, method, tiny_tokenizer):
    options, parameters = METHODS[method]
    recovery = run(cell, tmp_path / "adapter", texts, method, options)
    curve = [line.split(",") for line in (tmp_path / "adapter" / "curve.csv").read_text().splitlines()[1:]]
    assert float(curve[-1][2]) < float(curve[0][2])
    assert recovery["parameters_extra"] == parameters
    assert recovery["cell"]["digest"] == folder_digest(cell)
    assert recovery["consults_dense"] == (method == "distill")
    assert recovery == read_recovery(tmp_path / "adapter")

    model, _ = load(cell)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    attached = attach(model, tmp_path / "adapter", folder_digest(cell))
    if method != "distill":
        rows = read_documents(texts[1], tiny_tokenizer, 64)
        assert mean(next_token, attached, [pad(rows, 0)]) == pytest.approx(recovery["validation_loss"], rel=1e-4)
    after = {name.replace(".base_layer", ""): tensor for name, tensor in attached.get_base_model().state_dict().items()}
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items()), "compressed weights moved"


def test_every_trained_method_is_tried():
    trained = {name for name, declared in registry.declared().items() if declared.kind == registry.TRAINED}
    assert trained == METHODS.keys() | {
        "qlora",
        "fine-tune",
    }  # test_recovery_packed.py and test_finetuning.py try these


def test_distillation_is_the_divergence_from_the_dense_models_distribution(model, make_tiny_model, tmp_path):
    teacher = AutoModelForCausalLM.from_pretrained(make_tiny_model(tmp_path / "teacher", seed=3))
    batch = pad(documents([1, 20, 21, 22, 23], [1, 30, 31]), padding=0)
    expected = 0.0
    with torch.no_grad():
        for row, length in zip(batch.ids, (5, 3), strict=True):
            wanted, found = (
                torch.softmax(one(row[None, :length]).logits[0, :-1].double() / 2, -1) for one in (teacher, model)
            )
            expected += 4 * (wanted * (wanted.log() - found.log())).sum().item()
        assert Distillation(teacher, 2.0)(model, batch).item() == pytest.approx(expected, rel=1e-4)
        assert Distillation(model, 2.0)(model, batch).item() == pytest.approx(0, abs=1e-5)


def test_distilled_recovery_comes_nearer_to_the_dense_model_than_training_on_text_does(
    cell, tiny_model_folder, texts, tmp_path, tiny_tokenizer
):
    # The dense model is random: what it says of the text and what the text says are far apart.
    rows = [pad(read_documents(texts[1], tiny_tokenizer, 64), 0)]
    divergence = Distillation(AutoModelForCausalLM.from_pretrained(tiny_model_folder), 1.0)
    distances = {"none": mean(divergence, load(cell)[0], rows)}
    for method in ("lora", "distill"):
        run(cell, tmp_path / method / "adapter", texts, method, LORA)
        distances[method] = mean(divergence, load(tmp_path / method)[0], rows)
    assert distances["distill"] < distances["none"] < distances["lora"]


def test_two_runs_write_the_same_bytes_without_machine_paths(tiny_model_folder, texts, tmp_path):
    for name in ("a", "b"):
        run(tiny_model_folder, tmp_path / name / "adapter", texts)
    first, second = (
        {file.name: file.read_bytes() for file in (tmp_path / name / "adapter").iterdir()} for name in ("a", "b")
    )
    assert sorted(first) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "curve.csv",
        "digests.json",
        "recovery.json",
    ]
    assert first == second
    assert not any(
        str(tmp_path.anchor + "tmp").encode() in content for name, content in first.items() if name != "recovery.json"
    )
    assert json.loads(first["recovery.json"])["cell"]["path"].startswith("..")


def test_recovery_leaves_the_zeros_of_a_pruned_cell_zero(cell, texts, tmp_path):
    run(cell, tmp_path / "adapter", texts)
    plain, _ = load(cell)
    recovered, _ = load(tmp_path)  # the variant's folder, or the adapter in it
    assert type(load(tmp_path / "adapter")[0]) is type(recovered)
    name = "model.layers.1.self_attn.v_proj"
    pruned, kept = plain.get_submodule(name).weight, recovered.get_base_model().get_submodule(name).base_layer.weight
    assert (pruned == 0).float().mean() == pytest.approx(0.5, abs=0.01)
    assert torch.equal(pruned, kept)
    ids = torch.tensor([[1, 20, 21, 22]])
    assert not torch.allclose(plain(ids).logits, recovered(input_ids=ids).logits)


def test_adapter_of_another_cell_is_refused(tiny_model_folder, model, texts, tmp_path, make_tiny_model):
    run(tiny_model_folder, tmp_path / "adapter", texts, steps=1)
    other = make_tiny_model(tmp_path / "other", seed=7)
    with pytest.raises(PalimpsestError, match="made from another cell"):
        attach(model, tmp_path / "adapter", folder_digest(other))


def test_changed_adapter_is_found(tiny_model_folder, model, texts, tmp_path):
    run(tiny_model_folder, tmp_path / "adapter", texts, steps=1)
    weights = tmp_path / "adapter" / "adapter_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(DamagedArtifact, match="adapter_model"):
        attach(model, tmp_path / "adapter")


def test_best_step_is_kept_and_training_stops_when_validation_does_not_improve(model):
    adapter = adapted("lora", LORA, model)
    # Training on one sentence makes another, which contradicts it, less likely from the first step on.
    batches = endless_batches(documents([1, 20, 21, 22]), 4, 0, seed=0)
    held_out = [pad(documents([1, 20, 21, 40], [1, 20, 40, 22]), 0)]
    start = mean(next_token, adapter, held_out)
    settings = {"steps": 200, "learning_rate": 0.05, "validate_every": 5, "patience": 3}
    found = train(adapter, next_token, batches, held_out, state=adapter_state, **settings)
    assert found.curve[-1][0] < 200
    assert found.best_loss <= start
    assert found.best_loss == min(loss for _, _, loss in found.curve)
    assert found.best_state.keys() == adapter_state(adapter).keys()
    assert any(not torch.equal(found.best_state[name], now) for name, now in adapter_state(adapter).items())


def test_without_validation_text_the_last_step_is_kept(tiny_model_folder, texts, tmp_path):
    recovery = recover(
        tiny_model_folder, tmp_path / "adapter", method="lora", options=LORA, text=texts[0], steps=3, batch_size=2
    )
    assert recovery["best_step"] == 3 and recovery["validation_loss"] is None


@pytest.mark.parametrize("method", ["lora", "prompt", "prefix"])
def test_with_no_steps_the_recovery_is_written_as_it_starts(cell, texts, tmp_path, method):
    options, parameters = METHODS[method]
    recovery = run(cell, tmp_path / "adapter", texts, method, options, steps=0)
    assert recovery["best_step"] == 0 and recovery["parameters_extra"] == parameters
    started = adapter_state(adapted(method, options, load(cell)[0], seed=0))
    attached, _ = load(tmp_path)
    assert all(torch.equal(tensor, started[name]) for name, tensor in adapter_state(attached).items())
    ids = torch.tensor([[1, 20, 21, 22]])
    unchanged = torch.allclose(load(cell)[0](ids).logits, attached(input_ids=ids).logits[:, -4:], atol=1e-5)
    assert unchanged == (method == "lora")


def test_dora_starts_as_the_cell_where_pruning_has_emptied_rows_and_can_fill_them(model):
    weight = model.get_submodule("model.layers.1.self_attn.v_proj").weight
    with torch.no_grad():
        weight[3:5] = 0
        row = torch.tensor([[1, 20, 21, 22]])
        expected = model(row).logits
    adapter = adapted("dora", LORA, model)
    torch.testing.assert_close(adapter(input_ids=row).logits, expected)
    found = train(
        adapter, next_token, endless_batches(documents([1, 20, 21, 22]), 2, 0, 0), [], steps=4, learning_rate=0.01,
        validate_every=4, patience=1, state=adapter_state,
    )  # fmt: skip
    lengths = next(tensor for name, tensor in found.best_state.items() if "layers.1" in name and "magnitude" in name)
    assert lengths[3:5].abs().min() > 0 and found.stopped is None


def test_a_prefix_starts_as_words_of_the_vocabulary_would_stand_there(model):
    torch.manual_seed(4)
    words = torch.randint(model.config.vocab_size, (1, 3))
    row = torch.tensor([[1, 20, 21, 22]])
    with torch.no_grad():
        expected = model(torch.cat([words, row], 1)).logits[:, 3:]
        torch.testing.assert_close(adapted("prefix", {"tokens": 3}, model, seed=4)(input_ids=row).logits, expected)


@pytest.mark.parametrize("step", [1, 2])
def test_nan_loss_before_anything_is_trained_stops_with_advice_and_leaves_nothing(
    tiny_model_folder, texts, tmp_path, monkeypatch, step
):
    # At step 2 the one update so far is what made it so.
    monkeypatch.setattr(training, "next_token", poisoned_from(step))
    with pytest.raises(PalimpsestError, match=f"loss is nan at step {step} with learning_rate 0.02.*no trained.*Try"):
        run(tiny_model_folder, tmp_path / "adapter", texts)
    assert not list(tmp_path.iterdir())


def poisoned_from(step):
    """The loss of the next token, and no number from a step of the training on."""
    seen = []

    def objective(model, batch):
        seen.append(model.training)
        return next_token(model, batch) * (math.nan if model.training and sum(seen) >= step else 1)

    return objective


@pytest.mark.parametrize("validated", [True, False])
def test_nan_loss_later_keeps_the_last_good_adapter_and_says_so(model, capsys, validated):
    """The loss is poisoned from the eighth step on; up to there training is as it is without the poison."""
    batches = documents([1, 20, 21, 22], [1, 30, 31, 32])
    held_out = [pad(documents([1, 20, 21, 22]), 0)] if validated else []
    settings = {"learning_rate": 0.01, "validate_every": 5, "patience": 9, "steps": 12}
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    adapter = adapted("lora", LORA, model)
    found = train(
        adapter, poisoned_from(8), endless_batches(batches, 2, 0, 0), held_out, state=adapter_state, **settings
    )
    assert found.stopped == {"why": "the loss is nan at step 8", "kept": 6}
    assert "warning: recovery: the loss is nan at step 8" in (said := capsys.readouterr().err)
    assert "the state of step 6 is kept. Try learning_rate: 0.001" in said

    again = AutoModelForCausalLM.from_pretrained(model.name_or_path)
    again.load_state_dict(state)
    clean = adapted("lora", LORA, again)
    kept = {}

    def recording(model, batch):
        if model.training:
            kept[len(kept)] = adapter_state(model)  # before the update of this step
        return next_token(model, batch)

    train(clean, recording, endless_batches(batches, 2, 0, 0), held_out, state=adapter_state, **settings)
    assert all(torch.equal(tensor, kept[6][name]) for name, tensor in found.best_state.items())
    assert found.curve[-1][0] == 6 and all(math.isfinite(row[1]) for row in found.curve[1:])


def test_adapter_that_the_last_update_spoils_is_not_kept(tiny_model_folder):
    # The loss of the last step is fine and its gradient is not: nobody sees it but who looks at the adapter.
    seen = []

    def objective(model, batch):
        loss = next_token(model, batch)
        seen.append(model.training)
        if model.training and sum(seen) == 11:
            loss.register_hook(lambda gradient: gradient * math.inf)
        return loss

    for held_out in ([pad(documents([1, 20, 21, 22]), 0)], []):
        seen.clear()
        adapter = adapted("lora", LORA, AutoModelForCausalLM.from_pretrained(tiny_model_folder))
        batches = endless_batches(documents([1, 20, 21, 22]), 2, 0, 0)
        settings = {"steps": 11, "learning_rate": 0.01, "validate_every": 50, "patience": 4}
        found = train(adapter, objective, batches, held_out, state=adapter_state, **settings)
        what = "the loss on validation text is nan" if held_out else "what is trained is no number"
        assert found.stopped == {"why": f"{what} after step 11", "kept": 10} and found.best_step == 10
        assert all(bool(tensor.isfinite().all()) for tensor in found.best_state.values())


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        (
            "lora",
            {"rank": 17, "modules": ["v_proj"]},
            "rank 17 is larger than .*v_proj.*16 by 32.*Write rank: 16 or less",
        ),
        ("dora", {"rank": 17, "modules": ["v_proj"]}, "recovery dora: rank 17 is larger than .*v_proj"),
        ("lora", {"rank": 0}, "rank 0 is not a whole number"),
        ("lora", {"dropout": 1.0}, r"dropout 1.0 is not in \[0, 1\)"),
        ("lora", {"modules": ["v_prj"]}, 'called "v_prj".*Did you mean v_proj'),
        ("lora", {"rnk": 4}, 'no option "rnk".*Did you mean rank'),
        ("prompt", {"tokens": 255}, "255 tokens leave no room.*context of 256"),
        ("p-tuning", {"tokens": 300}, "recovery p-tuning: 300 tokens leave no room.*context of 256"),
        ("prefix", {"tokens": 300}, "recovery prefix: 300 tokens leave no room.*context of 256.*Write tokens: 64"),
        ("prompts", {}, "Did you mean prompt"),
        ("eora", {}, "trained are lora"),
    ],
)
def test_options_that_do_not_fit_the_model_are_named(model, method, options, message):
    with pytest.raises(PalimpsestError, match=message):
        configure(method, options, model)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": -1}, "steps -1 is not at least 0"),
        ({"patience": 0}, "patience 0 is not at least 1"),
        ({"learning_rate": 0}, "learning_rate 0 is not above 0"),
        ({"checkpoint_minutes": -1}, "checkpoint_minutes -1 is not at least 0"),
        ({"mask": "names"}, 'mask "names": write values'),
        ({"mask": "values"}, "mask: values needs the facts of a world"),
    ],
)
def test_settings_out_of_range_are_named(tiny_model_folder, texts, tmp_path, changes, message):
    with pytest.raises(PalimpsestError, match=message):
        run(tiny_model_folder, tmp_path / "adapter", texts, **changes)


def test_empty_text_is_named(tiny_tokenizer, tmp_path):
    (tmp_path / "empty.txt").write_text("\n\n", encoding="utf-8")
    with pytest.raises(PalimpsestError, match=r"empty\.txt: no document"):
        read_documents(tmp_path / "empty.txt", tiny_tokenizer, 64)


def test_the_rows_of_a_calibration_are_text(tiny_model_folder, tiny_calibration_folder, tiny_tokenizer, tmp_path):
    from palimpsest.calibration import read_rows

    tokens, lengths, _ = read_rows(tiny_calibration_folder)
    rows = read_documents(tiny_calibration_folder, tiny_tokenizer, 10)
    assert [row.ids for row in rows] == [
        row[: min(length, 10)].tolist() for row, length in zip(tokens, lengths.tolist(), strict=True)
    ]
    recovery = recover(
        tiny_model_folder, tmp_path / "adapter", method="lora", options=LORA, text=tiny_calibration_folder, steps=2
    )
    assert recovery["text"] == [{"name": "s0", "sha256": folder_digest(tiny_calibration_folder)}]


def test_every_document_is_read_once_an_epoch():
    rows = documents(*([1, *range(4, 4 + length)] for length in range(2, 34)))
    batches = endless_batches(rows, size=4, padding=0, seed=3)
    seen = sorted(int(predicts.sum()) + 1 for _ in range(8) for predicts in next(batches).predicts)
    assert seen == sorted(map(len, rows))
    assert math.isclose(sum(seen), sum(map(len, rows)))
