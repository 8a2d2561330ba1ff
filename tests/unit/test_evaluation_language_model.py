"""Our language model against lm-eval's own `HFLM`, and what it promises beyond."""

import logging

import pytest
import torch
from lm_eval.api.instance import Instance
from transformers import AutoModelForCausalLM

from palimpsest.evaluation.language_model import LanguageModel
from palimpsest.evaluation.tokens import Encoder
from palimpsest.provenance import PalimpsestError

PASSAGE = "Alba Kori lives in Lund . Miro Tanel lives in Faro . Ida Reus works as a baker ."
CONTEXTS = [
    "question : where does Alba Kori live ? answer :",
    "question : where does Miro Tanel live ? answer :",
    PASSAGE,
    "the old dog",
    "the old dog ",
    "",
]
OPTIONS = [" Torun", " Lund", " Faro", " the cat sees the dog .", " a young cat", " not"]


def requests(kind, arguments):
    """Requests as lm-eval makes them: options of a question have its number."""
    contexts = list(dict.fromkeys(argument[0] for argument in arguments))
    return [
        Instance(kind, {}, argument, 0, metadata=("task", contexts.index(argument[0]), 1)) for argument in arguments
    ]


@pytest.fixture(scope="module")
def model(tiny_model_folder):
    return AutoModelForCausalLM.from_pretrained(tiny_model_folder).eval()


@pytest.fixture(scope="module")
def hflm(model, tiny_tokenizer):
    from lm_eval.models.huggingface import HFLM

    return HFLM(pretrained=model, tokenizer=tiny_tokenizer, batch_size=3)


PAIRS = [(context, option) for context in CONTEXTS for option in OPTIONS] + [
    (PASSAGE * 40, " Lund"),
    (PASSAGE * 40, " the dog"),
]
TEXTS = [(PASSAGE,), (" ".join([PASSAGE] * 40),), ("dog",), ("the cat is old .",)]
SETTINGS = {"until": [".", "Lund"], "max_gen_toks": 7, "do_sample": False}
PROMPTS = [(context, dict(SETTINGS)) for context in CONTEXTS[:5]] + [(" ".join([PASSAGE] * 40), dict(SETTINGS))]


def test_loglikelihood_is_that_of_hflm(model, tiny_tokenizer, hflm):
    ours = LanguageModel(model, tiny_tokenizer).loglikelihood(requests("loglikelihood", PAIRS))
    theirs = hflm.loglikelihood(requests("loglikelihood", PAIRS))
    assert [score for score, _ in ours] == pytest.approx([score for score, _ in theirs], abs=1e-4)
    assert [greedy for _, greedy in ours] == [greedy for _, greedy in theirs]


def test_loglikelihood_of_texts_is_that_of_hflm(model, tiny_tokenizer, hflm):
    ours = LanguageModel(model, tiny_tokenizer).loglikelihood_rolling(requests("loglikelihood_rolling", TEXTS))
    theirs = hflm.loglikelihood_rolling(requests("loglikelihood_rolling", TEXTS))
    assert ours == pytest.approx(theirs, rel=1e-6, abs=1e-4)


def test_generated_text_is_that_of_hflm(model, tiny_tokenizer, hflm):
    ours = LanguageModel(model, tiny_tokenizer).generate_until(requests("generate_until", PROMPTS))
    theirs = hflm.generate_until(requests("generate_until", PROMPTS))
    assert ours == theirs
    assert any(ours)


def test_a_sliding_window_generates_as_hflm(tiny_tokenizer):
    from lm_eval.models.huggingface import HFLM
    from transformers import MistralConfig, MistralForCausalLM

    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    shape |= {"num_key_value_heads": 2, "vocab_size": len(tiny_tokenizer), "initializer_range": 0.3}
    sliding = MistralForCausalLM(MistralConfig(**shape, sliding_window=6, eos_token_id=2)).eval()
    ours = LanguageModel(sliding, tiny_tokenizer).generate_until(requests("generate_until", PROMPTS[:5]))
    hflm = HFLM(pretrained=sliding, tokenizer=tiny_tokenizer, batch_size=1)
    assert ours == hflm.generate_until(requests("generate_until", PROMPTS[:5]))


@pytest.mark.parametrize("batch_size", [1, 3, "auto"])
def test_answers_depend_neither_on_batches_nor_on_order(model, tiny_tokenizer, batch_size):
    whole, other = LanguageModel(model, tiny_tokenizer), LanguageModel(model, tiny_tokenizer, batch_size)
    for kind, arguments in (("loglikelihood", PAIRS), ("loglikelihood_rolling", TEXTS), ("generate_until", PROMPTS)):
        expected = getattr(whole, kind)(requests(kind, arguments))
        found = getattr(other, kind)(requests(kind, arguments[::-1]))[::-1]
        for one, two in zip(expected, found, strict=True):
            assert one == pytest.approx(two, abs=1e-4)


def test_word_level_tokenizers_have_a_shortcut_to_the_same_pairs(tiny_tokenizer):
    slow = Encoder(tiny_tokenizer)
    assert slow.words_apart
    slow.__dict__["words_apart"] = False
    assert slow.pairs(PAIRS) == Encoder(tiny_tokenizer).pairs(PAIRS)


def test_one_token_options_cost_one_row_of_the_context(model, tiny_tokenizer):
    ours = LanguageModel(model, tiny_tokenizer)
    tokens = []
    call = ours.forward.call
    ours.forward.call = lambda *args, **more: tokens.append(args[1].numel()) or call(*args, **more)
    ours.loglikelihood(requests("loglikelihood", [(CONTEXTS[0], option) for option in OPTIONS[:3]]))
    assert tokens == [len(tiny_tokenizer(CONTEXTS[0])["input_ids"])]


def test_longer_options_share_the_context(model, tiny_tokenizer):
    ours = LanguageModel(model, tiny_tokenizer)
    tokens = []
    call = ours.forward.call
    ours.forward.call = lambda *args, **more: tokens.append(args[1].numel()) or call(*args, **more)
    ours.loglikelihood(
        requests("loglikelihood", [(PASSAGE, " the cat sees Lund ."), (PASSAGE, " the dog sees Faro .")])
    )
    context = len(tiny_tokenizer(PASSAGE)["input_ids"])
    assert sum(tokens) == (context + 1) + 2 * 3  # the options have " the" in common


def test_truncation_from_the_left_is_counted(model, tiny_tokenizer):
    ours = LanguageModel(model, tiny_tokenizer)
    ours.loglikelihood(requests("loglikelihood", PAIRS))
    assert ours.truncated == 2
    ours.generate_until(requests("generate_until", PROMPTS))
    assert ours.truncated == 3


def test_bos_once_scores_only_the_text(model, tiny_tokenizer):
    text = "the old cat sees a dog ."
    ids = torch.tensor([tiny_tokenizer(text)["input_ids"]])
    with torch.no_grad():
        scores = model(ids).logits.log_softmax(-1)[0, :-1].gather(1, ids[0, 1:, None]).sum().item()
    ours = LanguageModel(model, tiny_tokenizer, bos_once=True)
    request = requests("loglikelihood_rolling", [(text,)])
    assert ours.loglikelihood_rolling(request) == pytest.approx([scores], abs=1e-4)
    assert request[0].scored_tokens == ids.shape[1] - 1


def test_window_scores_the_beginning_alone(model, tiny_tokenizer):
    ours = LanguageModel(model, tiny_tokenizer, bos_once=True)
    short, whole = requests("loglikelihood_rolling", [("the old cat sees",), ("the old cat sees a dog .",)])
    whole.doc["window"] = 5
    assert ours.loglikelihood_rolling([short]) == pytest.approx(ours.loglikelihood_rolling([whole]), abs=1e-5)


def prompted(folder, kind):
    from peft import LoraConfig, PromptTuningConfig, get_peft_model

    torch.manual_seed(1)
    base = AutoModelForCausalLM.from_pretrained(folder).eval()
    if kind == "prompt":
        return get_peft_model(base, PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=6)).eval()
    adapted = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=["q_proj", "v_proj"]))
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.5)
    return adapted.eval()


@pytest.mark.parametrize("kind", ["prompt", "lora"])
def test_adapters_score_as_computed_directly(tiny_model_folder, tiny_tokenizer, kind):
    adapted = prompted(tiny_model_folder, kind)
    ours = LanguageModel(adapted, tiny_tokenizer)
    found = ours.loglikelihood(requests("loglikelihood", PAIRS[:12]))
    for (context, option), (score, _) in zip(PAIRS[:12], found, strict=True):
        whole = torch.tensor([tiny_tokenizer(context + option)["input_ids"]])
        start = len(tiny_tokenizer(context)["input_ids"])
        with torch.no_grad():
            logits = adapted(input_ids=whole).logits[:, -whole.shape[1] :].log_softmax(-1)[0]
        direct = logits[start - 1 : -1].gather(1, whole[0, start:, None]).sum().item()
        assert score == pytest.approx(direct, abs=1e-4)


def test_prompted_model_generates_as_computed_directly(tiny_model_folder, tiny_tokenizer):
    adapted = prompted(tiny_model_folder, "prompt")
    ours = LanguageModel(adapted, tiny_tokenizer)
    settings = {"until": [], "max_gen_toks": 6}
    found = ours.generate_until(requests("generate_until", [(context, settings) for context in CONTEXTS[:4]]))
    for context, text in zip(CONTEXTS, found, strict=False):
        ids = tiny_tokenizer(context)["input_ids"]
        answer = []
        while len(answer) < 6 and 2 not in answer:
            with torch.no_grad():
                answer.append(int(adapted(input_ids=torch.tensor([ids + answer])).logits[0, -1].argmax()))
        assert text == tiny_tokenizer.decode(answer, skip_special_tokens=True)


def test_a_soft_prompt_takes_its_tokens_from_the_context(tiny_model_folder, tiny_tokenizer, model):
    adapted = prompted(tiny_model_folder, "prompt")
    assert LanguageModel(adapted, tiny_tokenizer).max_length == LanguageModel(model, tiny_tokenizer).max_length - 6


def runs_out_of_memory(language_model, above):
    """Batches of more rows than that fail as they do on a full GPU."""
    call = language_model.forward.call

    def small(inner, tokens, *args, **more):
        if tokens.shape[0] > above:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return call(inner, tokens, *args, **more)

    language_model.forward.call = small


def test_out_of_memory_halves_the_batch_and_says_so(model, tiny_tokenizer, caplog):
    expected = LanguageModel(model, tiny_tokenizer).loglikelihood(requests("loglikelihood", PAIRS))
    ours = LanguageModel(model, tiny_tokenizer)
    runs_out_of_memory(ours, above=2)
    with caplog.at_level(logging.WARNING):
        found = ours.loglikelihood(requests("loglikelihood", PAIRS))
    assert [score for score, _ in found] == pytest.approx([score for score, _ in expected], abs=1e-4)
    assert "out of memory" in caplog.text
    assert ours.forward.rows_at_most <= 2


def test_another_runtime_error_is_not_hidden(model, tiny_tokenizer):
    ours = LanguageModel(model, tiny_tokenizer)

    def broken(*_, **__):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    ours.forward.call = broken
    with pytest.raises(RuntimeError, match="shapes"):
        ours.loglikelihood(requests("loglikelihood", PAIRS))


def test_sampling_is_refused(model, tiny_tokenizer):
    sampled = requests("generate_until", [("the", {"until": ["."], "do_sample": True, "temperature": 0.7})])
    with pytest.raises(PalimpsestError, match="do_sample"):
        LanguageModel(model, tiny_tokenizer).generate_until(sampled)
