"""Soft prompts whose keys and values are computed once: the numbers of peft's own passes, in every family."""

from __future__ import annotations

import pytest
import torch
from peft import PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig, get_peft_model
from test_evaluation_engine import FAMILIES, FEWSHOT, random_model
from test_evaluation_language_model import CONTEXTS, PAIRS, TEXTS, requests
from transformers import AutoModelForCausalLM

from palimpsest.evaluation.forward import Forward
from palimpsest.evaluation.language_model import LanguageModel
from palimpsest.evaluation.plan import Row

KINDS = {
    "prompt": lambda: PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=6),
    "p-tuning": lambda: PromptEncoderConfig(task_type="CAUSAL_LM", num_virtual_tokens=5, encoder_hidden_size=8),
    "prefix": lambda: PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4),
}


def prompted(family, kind, folder):
    base = AutoModelForCausalLM.from_pretrained(folder) if family == "llama" else random_model(FAMILIES[family])
    torch.manual_seed(1)
    model = get_peft_model(base, KINDS[kind]())
    if kind == "prefix":  # as far from nothing as trained ones are
        torch.nn.init.normal_(model.prompt_encoder["default"].embedding.weight, std=0.5)
    return model.eval()


def peft_logits(model, ids):
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids])).logits[0, -len(ids) :]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", ["llama", "gpt2", "neox", "gemma"])
def test_scores_and_texts_are_those_of_pefts_own_passes(tiny_model_folder, tiny_tokenizer, family, kind):
    model = prompted(family, kind, tiny_model_folder)
    ours = LanguageModel(model, tiny_tokenizer)
    pairs = [*PAIRS[:18], *FEWSHOT[:8]]
    found = ours.loglikelihood(requests("loglikelihood", pairs))
    for (score, greedy), (context, option) in zip(found, ours.encoder.pairs(pairs), strict=True):
        logits = peft_logits(model, context + option[:-1])[len(context) - 1 :]
        assert score == pytest.approx(
            logits.log_softmax(-1).gather(1, torch.tensor(option)[:, None]).sum().item(), 1e-4, 1e-4
        )
        assert greedy == (logits.argmax(-1).tolist() == list(option))
    asked = requests("generate_until", [(context, {"until": [], "max_gen_toks": 4}) for context in CONTEXTS[:3]])
    for context, text in zip(CONTEXTS, ours.generate_until(asked), strict=False):
        ids, answer = tiny_tokenizer(context)["input_ids"], []
        while len(answer) < 4 and 2 not in answer:
            answer.append(int(peft_logits(model, ids + answer)[-1].argmax()))
        assert text == tiny_tokenizer.decode(answer, skip_special_tokens=True)


def test_a_prompt_is_computed_once_however_many_rows_follow(tiny_model_folder, tiny_tokenizer):
    model = prompted("llama", "prompt", tiny_model_folder)
    passes, tokens = [], []
    layer = model.get_base_model().model.layers[0]
    layer.register_forward_pre_hook(lambda _, inputs: passes.append(tuple(inputs[0].shape[:2])))
    ours = LanguageModel(model, tiny_tokenizer)
    assert passes == [(1, 6)]
    call = ours.forward.call
    ours.forward.call = lambda *args, **more: tokens.append(tuple(args[1].shape)) or call(*args, **more)
    ours.loglikelihood(requests("loglikelihood", PAIRS[:18]))
    ours.loglikelihood_rolling(requests("loglikelihood_rolling", TEXTS))
    assert passes[1:] == tokens


@pytest.mark.parametrize("kind", KINDS)
def test_a_prefill_and_its_decoding_are_those_of_whole_passes(tiny_model_folder, tiny_tokenizer, kind):
    model = prompted("llama", kind, tiny_model_folder)
    ids = tiny_tokenizer(CONTEXTS[0])["input_ids"]
    forward = Forward(model)
    logits, kept = forward.prefill(tuple(ids))
    assert torch.allclose(logits[0], peft_logits(model, ids)[-1], atol=1e-4)
    (answer,) = forward.decode(logits, kept, lambda _: False, 4)
    expected = []
    for _ in range(4):
        expected.append(int(peft_logits(model, ids + expected)[-1].argmax()))
    assert answer == expected


def test_what_a_model_without_prompts_computes_is_untouched(tiny_model_folder):
    model = AutoModelForCausalLM.from_pretrained(tiny_model_folder).eval()
    forward = Forward(model)
    assert forward.prompts == [] and forward.virtual_tokens == 0 and not forward.chooses
    ((_, logits),) = forward.logits([Row((1, 9, 12), 0)])
    with torch.no_grad():
        assert torch.equal(logits, model(torch.tensor([[1, 9, 12]])).logits[0])
