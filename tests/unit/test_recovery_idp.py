"""Dynamic prompts: scores against transformers' own attention, the engine against plain passes, and bad input."""

from __future__ import annotations

import copy
import json
import math
import os
from pathlib import Path

import pytest
import torch
from peft import PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig, get_peft_model
from test_evaluation_engine import FAMILIES, random_model
from test_evaluation_language_model import CONTEXTS, PAIRS, PASSAGE, TEXTS, requests
from transformers import AutoModelForCausalLM, AutoTokenizer

from palimpsest import checks, settings
from palimpsest.compression.cell import compress
from palimpsest.evaluation.cache import AnswerCache
from palimpsest.evaluation.divergence import Reference
from palimpsest.evaluation.language_model import LanguageModel
from palimpsest.loading import load
from palimpsest.probing.states import last_states
from palimpsest.provenance import PalimpsestError, atomic_folder, folder_digest, read_json, write_json
from palimpsest.recovery.adapters import adapter_state, write_adapter
from palimpsest.recovery.idp import dynamic_prompts, make_idp

DATA = os.environ.get("PALIMPSEST_DATA")
LENGTHS = {"short": 3, "long": 7, "middle": 4}
OPTIONS = {"short": {}, "mean": {"layer": "mean"}, "all": {}}
BATCH = torch.tensor([[1, 9, 12, 33, 7, 21], [1, 30, 31, 0, 0, 0], [1, 8, 9, 10, 0, 0]])
ROW_LENGTHS = torch.tensor([6, 3, 4])


def some_prompts(model, lengths=LENGTHS, seed=0):
    generator = torch.Generator().manual_seed(seed)
    words = model.get_input_embeddings().weight.detach()
    scale = words.std().item()
    return {name: scale * torch.randn(length, words.shape[1], generator=generator) for name, length in lengths.items()}


@pytest.fixture(scope="module")
def llama(tiny_model_folder):
    return AutoModelForCausalLM.from_pretrained(tiny_model_folder).eval()


def attention_by_transformers(model, prompts, row, start, block_mask):
    """(layers, heads, tokens, keys): a pass over all prompts and the row, with masks and positions written out."""
    eager = copy.deepcopy(model)
    eager.set_attn_implementation("eager")
    embedded = torch.cat([*prompts.values(), model.get_input_embeddings()(row)])[None]
    places = torch.cat([*(torch.arange(len(prompt)) for prompt in prompts.values()), start + torch.arange(len(row))])
    seen = torch.ones(embedded.shape[1], embedded.shape[1]).tril().bool()
    if block_mask:
        first = 0
        for prompt in prompts.values():
            seen[first + len(prompt) : first + sum(map(len, prompts.values())), first : first + len(prompt)] = False
            first += len(prompt)
        seen[sum(map(len, prompts.values())) :, :] = torch.ones(len(row), len(seen)).tril(len(seen) - len(row)).bool()
    mask = torch.zeros(seen.shape).masked_fill(~seen, torch.finfo(torch.float32).min)[None, None]
    with torch.no_grad():
        output = eager(inputs_embeds=embedded, attention_mask=mask, position_ids=places[None], output_attentions=True)
    return torch.cat(output.attentions)[:, :, -len(row) :]


def scores_by_transformers(model, prompts, row, *, layer=1, heads="all", softmax="prompts", divide_by_length=True,
                           positions="shared", block_mask=True):  # fmt: skip
    lengths = [len(prompt) for prompt in prompts.values()]
    scores, first = [], 0
    for length in lengths:
        start = max(lengths) if positions == "shared" else length
        attention = attention_by_transformers(model, prompts, row, start, block_mask)
        attention = attention if layer == "mean" else attention[layer - 1 : layer]
        attention = attention if heads == "all" else attention[:, [head - 1 for head in heads]]
        if softmax == "prompts":
            attention = attention[..., : sum(lengths)] / attention[..., : sum(lengths)].sum(-1, keepdim=True)
        mass = attention[..., first : first + length].sum(-1).mean().item()
        scores.append(mass / length if divide_by_length else mass)
        first += length
    return scores


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"layer": 2},
        {"layer": "mean"},
        {"layer": 2, "softmax": "prompts and input"},
        {"heads": [2, 4], "divide_by_length": False},
        {"positions": "own", "layer": 2},
        {"block_mask": False, "layer": "mean"},
        {"positions": "own", "block_mask": False, "softmax": "prompts and input"},
    ],
    ids=lambda options: "-".join(f"{key}={value}" for key, value in options.items()) or "default",
)
def test_scores_are_those_of_transformers_attention(llama, options):
    prompts = some_prompts(llama)
    found = dynamic_prompts(llama, prompts, options).scores(BATCH, ROW_LENGTHS)
    for scores, row, length in zip(found, BATCH, ROW_LENGTHS, strict=True):
        expected = scores_by_transformers(llama, prompts, row[:length], **options)
        assert scores.tolist() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("family", ["gpt2", "opt", "neox"])
def test_scores_are_those_of_transformers_attention_in_every_family(family):
    model = random_model(FAMILIES[family])
    prompts = some_prompts(model)
    if family == "opt":  # the positions of its prompts are found from the mask, if they are not given
        prompts = {name: prompts[name] for name in ("long", "middle")}
    options = {"layer": 2, "softmax": "prompts and input"}
    found = dynamic_prompts(model, prompts, options).scores(BATCH, ROW_LENGTHS)
    for scores, row, length in zip(found, BATCH, ROW_LENGTHS, strict=True):
        assert scores.tolist() == pytest.approx(scores_by_transformers(model, prompts, row[:length], **options), 1e-3)


@pytest.mark.skipif(
    not (DATA and Path(DATA, "models/stories260K").is_dir()), reason="PALIMPSEST_DATA has no stories260K"
)
def test_a_real_checkpoint_scores_and_answers_with_its_own_tokens():
    folder = Path(DATA, "models/stories260K")
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    words = model.get_input_embeddings().weight.detach()
    prompts = {"short": words[300:305].clone(), "long": words[400:412].clone()}
    idp = dynamic_prompts(model, prompts, {"layer": "mean"})
    asked = requests(
        "loglikelihood", [("Once upon a time there was a little", " girl"), ("Tom went to the park with", " his")]
    )
    ours = LanguageModel(idp, tokenizer)
    found = ours.loglikelihood(asked)
    for (score, _), request, (context, option) in zip(
        found, asked, ours.encoder.pairs([each.args for each in asked]), strict=True
    ):
        expected = scores_by_transformers(model, prompts, torch.tensor(context), layer="mean")
        assert request.measures["choice"] == ["short", "long"][expected[1] > expected[0]]
        logits = plain_logits(model, prompts[request.measures["choice"]], context + option[:-1], 12)
        plain = logits[len(context) - 1 :].log_softmax(-1).gather(1, torch.tensor(option)[:, None]).sum().item()
        assert score == pytest.approx(plain, abs=1e-4)


def test_attention_is_what_it_was_after_a_choice(llama):
    usual = llama.config._attn_implementation
    with torch.no_grad():
        before = llama(BATCH).logits
        dynamic_prompts(llama, some_prompts(llama), {}).choose(BATCH, ROW_LENGTHS)
        assert llama.config._attn_implementation == usual
        assert torch.equal(llama(BATCH).logits, before)


def plain_logits(model, prompt, row, start):
    """Of the row after a prompt, whose embedded tokens are part of the pass, with the row from `start` on."""
    embedded = torch.cat([prompt, model.get_input_embeddings()(torch.tensor(row))])[None]
    places = torch.cat([torch.arange(len(prompt)), start + torch.arange(len(row))])[None]
    mask = torch.ones(embedded.shape[:2], dtype=torch.long)  # else jumps in positions are read as packed rows
    with torch.no_grad():
        return model(inputs_embeds=embedded, position_ids=places, attention_mask=mask).logits[0, -len(row) :]


def starts(prompts, positions):
    longest = max(map(len, prompts.values()))
    return {name: longest if positions == "shared" else len(prompt) for name, prompt in prompts.items()}


SEVERAL = {"maximum attention": {}, "own positions": {"positions": "own"}, "minimum": {"choose": "minimum attention"},
           "random": {"choose": "random", "seed": 3}, "always": {"choose": "always", "prompt": 2},
           "mean of layers": {"layer": "mean", "softmax": "prompts and input"}}  # fmt: skip


@pytest.mark.parametrize("options", SEVERAL.values(), ids=SEVERAL)
def test_options_are_scored_after_the_prompt_that_their_context_chooses(llama, tiny_tokenizer, options):
    prompts = some_prompts(llama)
    model = dynamic_prompts(llama, prompts, options)
    ours, asked = LanguageModel(model, tiny_tokenizer), requests("loglikelihood", PAIRS[:30])
    found = ours.loglikelihood(asked)
    encoded = ours.encoder.pairs(PAIRS[:30])
    chosen = set()
    for (score, greedy), request, (context, option) in zip(found, asked, encoded, strict=True):
        name = request.measures["choice"]
        if model.passes:
            row = torch.tensor(context)
            settings = {key: value for key, value in options.items() if key not in ("choose", "seed", "prompt")}
            scores = dict(zip(prompts, scores_by_transformers(llama, prompts, row, **settings), strict=True))
            best = min if options.get("choose") == "minimum attention" else max
            assert name == best(scores, key=scores.get)
            ordered = sorted(scores.values(), reverse=best is max)
            assert request.measures["margin"] == pytest.approx(abs(ordered[0] - ordered[1]), rel=1e-3, abs=1e-7)
        start = starts(prompts, options.get("positions", "shared"))[name]
        logits = plain_logits(llama, prompts[name], context + option[:-1], start)[len(context) - 1 :]
        expected = logits.log_softmax(-1).gather(1, torch.tensor(option)[:, None]).sum().item()
        assert score == pytest.approx(expected, abs=1e-4)
        assert greedy == (logits.argmax(-1).tolist() == list(option))
        chosen.add(name)
    if options.get("choose") != "minimum attention":
        assert len(chosen) == 1 if options.get("choose") == "always" else len(chosen) > 1


@pytest.mark.parametrize("options", [{}, {"positions": "own"}, {"choose": "mean of all"}], ids=str)
def test_generation_keeps_what_the_prefill_chose(llama, tiny_tokenizer, options):
    prompts = some_prompts(llama)
    settings = {"until": [], "max_gen_toks": 5, "do_sample": False}
    asked = requests("generate_until", [(context, settings) for context in CONTEXTS[:4]])
    ours = LanguageModel(dynamic_prompts(llama, prompts, options), tiny_tokenizer)
    found = ours.generate_until(asked)
    for request, context, text in zip(asked, CONTEXTS, found, strict=False):
        names = [request.measures["choice"]] if "choice" in request.measures else list(prompts)
        ids, answer = tiny_tokenizer(context)["input_ids"], []
        where = starts(prompts, options.get("positions", "shared"))
        while len(answer) < 5 and 2 not in answer:
            logits = [plain_logits(llama, prompts[name], ids + answer, where[name])[-1] for name in names]
            answer.append(int(torch.stack([each.log_softmax(-1) for each in logits]).mean(0).argmax()))
        assert text == tiny_tokenizer.decode(answer, skip_special_tokens=True)


def test_the_mean_of_all_is_the_normalized_mean_of_their_log_probabilities(llama, tiny_tokenizer):
    prompts = some_prompts(llama)
    ours = LanguageModel(dynamic_prompts(llama, prompts, {"choose": "mean of all"}), tiny_tokenizer)
    asked = requests("loglikelihood", PAIRS[:12])
    found = ours.loglikelihood(asked)
    for (score, _), (context, option) in zip(found, ours.encoder.pairs(PAIRS[:12]), strict=True):
        each = [plain_logits(llama, prompt, context + option[:-1], 7).log_softmax(-1) for prompt in prompts.values()]
        logits = torch.stack(each).mean(0).log_softmax(-1)[len(context) - 1 :]
        assert score == pytest.approx(logits.gather(1, torch.tensor(option)[:, None]).sum().item(), abs=1e-4)
    assert asked[0].measures == {}


@pytest.mark.parametrize("batch_size", [1, 2])
def test_choices_depend_neither_on_batches_nor_on_order(llama, tiny_tokenizer, batch_size):
    model = dynamic_prompts(llama, some_prompts(llama), {})
    asked, again = requests("loglikelihood", PAIRS), requests("loglikelihood", PAIRS[::-1])
    expected = LanguageModel(model, tiny_tokenizer).loglikelihood(asked)
    found = LanguageModel(model, tiny_tokenizer, batch_size).loglikelihood(again)[::-1]
    assert [score for score, _ in found] == pytest.approx([score for score, _ in expected], abs=1e-4)
    assert [one.measures["choice"] for one in asked] == [one.measures["choice"] for one in again[::-1]]


def test_a_text_chooses_by_its_own_tokens_and_its_divergence_with_the_same_prompt(llama, tiny_tokenizer):
    prompts = some_prompts(llama)
    model = dynamic_prompts(llama, prompts, {})
    dense = Reference("d" * 64, lambda: llama)
    asked = requests("loglikelihood_rolling", [TEXTS[0], TEXTS[3]])
    found = LanguageModel(model, tiny_tokenizer, bos_once=True, dense=dense).loglikelihood_rolling(asked)
    for score, request in zip(found, asked, strict=True):
        ids = tiny_tokenizer(request.args[0])["input_ids"]
        own = torch.tensor(ids[:-1])
        best = model.names[model.scores(own[None], torch.tensor([len(own)])).argmax()]
        logits = plain_logits(llama, prompts[best], ids[:-1], 7).log_softmax(-1)
        with torch.no_grad():
            expected = llama(own[None]).logits[0].log_softmax(-1)
        divergence = (expected.exp() * (expected - logits)).sum(-1).mean().item()
        assert request.measures["choice"] == best
        assert score == pytest.approx(logits.gather(1, torch.tensor(ids[1:])[:, None]).sum().item(), abs=1e-4)
        assert request.measures["kl_to_dense"] == pytest.approx(divergence, rel=1e-3)


def test_a_choice_is_kept_with_the_answers(llama, tiny_tokenizer, tmp_path):
    def ask():
        ours = LanguageModel(model, tiny_tokenizer, cache=AnswerCache(tmp_path / "a.sqlite"))
        asked = requests("loglikelihood", PAIRS[:12])
        return ours.loglikelihood(asked), [request.measures for request in asked], ours.forward.passes

    model = dynamic_prompts(llama, some_prompts(llama), {})
    scores, measures, passes = ask()
    assert passes > 0
    assert ask() == (scores, measures, 0)


def test_random_choice_follows_from_the_seed_and_the_question_alone(llama):
    def choices(seed, rows=BATCH):
        model = dynamic_prompts(llama, some_prompts(llama), {"choose": "random", "seed": seed})
        return [choice.prompt for choice in model.choose(rows, torch.full((len(rows),), rows.shape[1]))]

    many = torch.arange(4, 54)[:, None] + torch.arange(3)
    assert choices(0, many) == choices(0, many.flip(0))[::-1] != choices(1, many)
    assert min(choices(0, many).count(prompt) for prompt in range(3)) > 5


def test_shuffled_prompts_have_the_same_tokens_in_another_order(llama):
    prompts = some_prompts(llama)
    shuffled = dynamic_prompts(llama, prompts, {"shuffle": True}).embedded
    again = dynamic_prompts(llama, prompts, {"shuffle": True}).embedded
    for one, two, as_trained in zip(shuffled, again, prompts.values(), strict=True):
        assert torch.equal(one, two) and not torch.equal(one, as_trained)
        assert sorted(one[:, 0].tolist()) == sorted(as_trained[:, 0].tolist())


@pytest.mark.parametrize("options", [{}, {"choose": "mean of all"}], ids=str)
def test_calling_it_picks_a_prompt_for_every_row_whatever_the_padding(llama, options):
    prompts = some_prompts(llama)
    model = dynamic_prompts(llama, prompts, options)
    mask = torch.arange(BATCH.shape[1]) < ROW_LENGTHS[:, None]
    labels = BATCH.masked_fill(~mask, -100)
    with torch.no_grad():
        output = model(BATCH, attention_mask=mask.long(), labels=labels, output_hidden_states=True)
    losses = []
    for row, length, logits in zip(BATCH, ROW_LENGTHS.tolist(), output.logits, strict=True):
        names = list(prompts)
        if model.chooses:
            names = [names[model.choose(row[None, :length], torch.tensor([length]))[0].prompt]]
        each = [plain_logits(llama, prompts[name], row[:length].tolist(), 7).log_softmax(-1) for name in names]
        expected = torch.stack(each).mean(0).log_softmax(-1)
        assert torch.allclose(logits[:length].log_softmax(-1), expected, atol=1e-4)
        losses += expected[:-1].gather(1, row[1:length, None]).flatten().tolist()
    assert output.loss.item() == pytest.approx(-sum(losses) / len(losses), rel=1e-4)
    assert output.hidden_states[-1].shape == (*BATCH.shape, 32)


# -- folders


def write_prompt(cell, folder, method="prompt", tokens=3, seed=0, digest=None):
    """An adapter folder as training leaves it."""
    torch.manual_seed(seed)
    configurations = {
        "prompt": lambda: PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=tokens),
        "p-tuning": lambda: PromptEncoderConfig(
            task_type="CAUSAL_LM", num_virtual_tokens=tokens, encoder_hidden_size=8
        ),
        "prefix": lambda: PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=tokens),
    }
    model = get_peft_model(load(cell)[0], configurations[method]())
    with atomic_folder(folder) as temporary:
        write_adapter(temporary, adapter_state(model), model.active_peft_config)
        write_json(
            temporary / "recovery.json",
            {
                "method": method,
                "cell": {"path": os.path.relpath(cell, folder), "digest": digest or folder_digest(cell)},
            },
        )
    return folder


@pytest.fixture(scope="module", params=[("dense", "full"), ("magnitude", "0.5")], ids=["dense", "pruned"])
def cell(request, tiny_model_folder, tmp_path_factory):
    method, level = request.param
    folder = tmp_path_factory.mktemp("cells") / "cell"
    compress(tiny_model_folder, folder, method=method, level=level, label=method, seed=0, options={})
    return folder


@pytest.fixture(scope="module")
def trained(cell, tmp_path_factory):
    folder = tmp_path_factory.mktemp("recoveries")
    return {
        "prompt-3": write_prompt(cell, folder / "a", tokens=3),
        "prompt-5": write_prompt(cell, folder / "b", "p-tuning", tokens=5, seed=1),
    }


def test_a_folder_stands_alone_and_loads_as_a_model(cell, tiny_tokenizer, trained, tmp_path):
    recovery = make_idp(cell, tmp_path / "idp" / "adapter", options={"layer": "mean"}, of=trained)
    assert recovery == read_json(tmp_path / "idp" / "adapter" / "recovery.json")
    assert recovery["parameters_extra"] == (3 + 5) * 32
    assert [part["name"] for part in recovery["of"]] == ["prompt-3", "prompt-5"]
    assert recovery["of"][0]["digest"] == folder_digest(trained["prompt-3"])
    model, _ = load(tmp_path / "idp")
    assert model.options.layer == "mean" and model.lengths == [3, 5]
    asked = requests("loglikelihood", [(PASSAGE, " Lund")])
    score = LanguageModel(model, tiny_tokenizer).loglikelihood(asked)
    assert math.isfinite(score[0][0]) and asked[0].measures["choice"] in trained


def test_two_runs_write_the_same_bytes(cell, trained, tmp_path):
    for name in ("a", "b"):
        make_idp(cell, tmp_path / name / "adapter", options={}, of=trained)
    first, second = (
        {file.name: file.read_bytes() for file in (tmp_path / name / "adapter").iterdir()} for name in ("a", "b")
    )
    assert first == second and sorted(first) == ["digests.json", "prompts.safetensors", "recovery.json"]


def test_always_one_prompt_is_that_prompt_by_itself(cell, tiny_tokenizer, trained, tmp_path):
    """At positions of its own: the same numbers as peft's model with that prompt."""
    options = {"choose": "always", "prompt": 2, "positions": "own"}
    make_idp(cell, tmp_path / "adapter", options=options, of=trained)
    scores = [
        LanguageModel(load(folder)[0], tiny_tokenizer).loglikelihood(requests("loglikelihood", PAIRS[:20]))
        for folder in (tmp_path / "adapter", trained["prompt-5"])
    ]
    assert [score for score, _ in scores[0]] == pytest.approx([score for score, _ in scores[1]], abs=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": 3}, r'layer 3 is not 1 to 2, this model\'s last, or "mean"'),
        ({"layer": 0}, "layer 0 is not 1 to 2"),
        ({"heads": [1, 5]}, r'heads \[1, 5\] is not "all" or a list of numbers from 1 to 4'),
        ({"heads": []}, r"heads \[\] is not"),
        ({"softmax": "input"}, 'softmax "input" is not one of prompts, prompts and input'),
        ({"choose": "oracle"}, 'choose "oracle" is not one of maximum attention'),
        ({"choose": "always"}, "prompt null is not 1 to 2, the number in `of`"),
        ({"choose": "always", "prompt": 3}, "prompt 3 is not 1 to 2"),
        ({"prompt": 1}, "prompt 1 is for `choose: always`"),
        ({"shuffle": 1}, "shuffle 1 is not true or false"),
    ],
    ids=str,
)
def test_options_that_do_not_fit_are_named(cell, trained, tmp_path, options, message):
    with pytest.raises(PalimpsestError, match=message):
        make_idp(cell, tmp_path / "adapter", options=options, of=trained)
    assert not (tmp_path / "adapter").exists()


def test_what_is_no_soft_prompt_of_this_cell_is_refused(cell, trained, tmp_path):
    def attempt(folder, **more):
        make_idp(cell, tmp_path / "adapter", options={}, of={**trained, "other": folder, **more})

    with pytest.raises(
        PalimpsestError, match=r"other is a prefix, which has no soft prompt.*method prompt or p-tuning"
    ):
        attempt(write_prompt(cell, tmp_path / "prefix", "prefix"))
    with pytest.raises(PalimpsestError, match=r"other .* was trained on another cell \(eeee"):
        attempt(write_prompt(cell, tmp_path / "elsewhere", digest="e" * 64))
    with pytest.raises(PalimpsestError, match=r"250 \(other\) tokens leave no room.*context of 256"):
        attempt(write_prompt(cell, tmp_path / "huge", tokens=250))
    with pytest.raises(PalimpsestError, match="nothing to choose from"):
        make_idp(cell, tmp_path / "adapter", options={}, of={"prompt-3": trained["prompt-3"]})


def test_measures_of_a_question_have_its_choice_as_json(llama, tiny_tokenizer):
    asked = requests("loglikelihood", PAIRS[:2])
    LanguageModel(dynamic_prompts(llama, some_prompts(llama), {}), tiny_tokenizer).loglikelihood(asked)
    said = json.loads(json.dumps(asked[0].measures))
    assert said["choice"] in LENGTHS and 0 <= said["margin"] < 1


def test_a_probe_reads_the_states_behind_the_prompt_of_each_question(llama, tiny_tokenizer):
    """Whatever questions it is padded beside."""
    model = dynamic_prompts(llama, some_prompts(llama), {})
    together = last_states(model, tiny_tokenizer, CONTEXTS[:4])
    for number, question in enumerate(CONTEXTS[:4]):
        alone = last_states(model, tiny_tokenizer, [question])
        assert torch.allclose(together[:, number].float(), alone[:, 0].float(), atol=2e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"of": ["prompt-4"]}, r"recovery\.idp\.of: there is nothing to choose from"),
        ({"of": ["lora-r2", "prompt-4"]}, '"lora-r2" is a lora; idp is made of prompt, p-tuning'),
        ({"options": {"layer": "men"}}, r'"men" is out of range: layer is a layer, 1 for the first, or "mean"'),
        ({"options": {"choose": "always", "prompt": 3}}, r"of `of`, 1 to 2; it is 3"),
        ({"options": {"choose": "always"}}, r"of `of`, 1 to 2; it is null"),
    ],
    ids=str,
)
def test_a_study_is_told_before_any_job_starts(changes, message):
    study = checks.read_yaml(Path(__file__).parents[2] / "studies" / "tiny.yaml")
    four = study["recovery"]["prompt-4"]
    study["recovery"]["prompt-2"] = four | {"options": {"tokens": 2}}
    idp = {"method": "idp", "of": ["prompt-2", "prompt-4"], "cells": four["cells"]}
    study["recovery"]["idp"] = idp | {"options": {"layer": "mean", "heads": [1, 2]}}
    settings.load(study, "x.yaml")
    study["recovery"]["idp"] = idp | changes
    with pytest.raises(PalimpsestError, match=message):
        settings.load(study, "x.yaml")
