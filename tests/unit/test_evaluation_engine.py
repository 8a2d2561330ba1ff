"""The engine on other architectures, nested prefixes, odd tokenizers, and the divergence from a dense model."""

import copy

import pytest
import torch
from lm_eval.models.huggingface import HFLM
from test_evaluation_language_model import PAIRS, PROMPTS, TEXTS, requests, runs_out_of_memory
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    GPT2Config,
    GPTNeoXConfig,
    MistralConfig,
    OPTConfig,
)

from palimpsest.evaluation.cache import AnswerCache
from palimpsest.evaluation.divergence import Reference
from palimpsest.evaluation.language_model import LanguageModel
from palimpsest.evaluation.plan import Row, tree
from palimpsest.provenance import PalimpsestError

COMMON = {"vocab_size": 57, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
WIDE = COMMON | {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 512}
FAMILIES = {
    "gpt2": GPT2Config(**COMMON, n_embd=32, n_layer=2, n_head=4, n_positions=512, initializer_range=0.3),
    "opt": OPTConfig(**WIDE, ffn_dim=48, word_embed_proj_dim=32, init_std=0.3),
    "neox": GPTNeoXConfig(**WIDE, intermediate_size=48, initializer_range=0.3),
    "gemma": Gemma2Config(
        **WIDE, intermediate_size=48, num_key_value_heads=2, head_dim=8, sliding_window=8, initializer_range=0.3
    ),
    "mistral": MistralConfig(**WIDE, intermediate_size=48, num_key_value_heads=2, sliding_window=6,
                             initializer_range=0.3),
}  # fmt: skip
EXAMPLES = [
    "question : where does Ida Reus live ? answer : Gdynia . question : is the dog old ? answer : not .",
    "question : what does Miro Tanel work as ? answer : a pilot . the cat sees a red house in the town .",
]
QUESTIONS = ["where does Alba Kori live ?", "who is old ?", "what colour is the house of the nurse , and where ?"]
FEWSHOT = [
    (f"{examples} question : {question} answer :", option)
    for examples in EXAMPLES
    for question in QUESTIONS
    for option in (" Lund", " Lund .", " the old cat sees Lund", " the old dog", " a river")
]


def random_model(config):
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(copy.deepcopy(config)).eval()


@pytest.fixture(scope="module")
def llama(tiny_model_folder):
    return AutoModelForCausalLM.from_pretrained(tiny_model_folder).eval()


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_answers_as_hflm_does(family, tiny_tokenizer):
    model = random_model(FAMILIES[family])
    theirs, ours = HFLM(pretrained=model, tokenizer=tiny_tokenizer, batch_size=1), LanguageModel(model, tiny_tokenizer)
    pairs = [*PAIRS[:36], *FEWSHOT]
    scores, expected = (lm.loglikelihood(requests("loglikelihood", pairs)) for lm in (ours, theirs))
    assert [score for score, _ in scores] == pytest.approx([score for score, _ in expected], abs=1e-4)
    assert [greedy for _, greedy in scores] == [greedy for _, greedy in expected]
    prompts = [*PROMPTS[:5], *((context, PROMPTS[0][1]) for context, _ in FEWSHOT[::5])]
    assert ours.generate_until(requests("generate_until", prompts)) == theirs.generate_until(
        requests("generate_until", prompts)
    )


def test_a_context_may_be_the_beginning_of_another_with_its_option(llama, tiny_tokenizer):
    """What one question is asked to predict then lies in what another only reads. Against plain passes: HFLM takes
    requests that have all tokens but the last in common for options of one token, wherever their contexts end."""
    words = "question : where does Ida Reus live ? answer : Gdynia . the dog is old".split()
    texts = [words, [*words[:9], "Lund", ".", "who", "is", "old", "?"]]
    pairs = [
        (" ".join(text[:start]), " " + " ".join(text[start:end]))
        for text in texts
        for start in range(1, len(text), 3)
        for end in range(start + 1, len(text) + 1, 2)
    ]
    ours = LanguageModel(llama, tiny_tokenizer)
    found = ours.loglikelihood(requests("loglikelihood", pairs))
    for (score, _), (context, continuation) in zip(found, ours.encoder.pairs(pairs), strict=True):
        with torch.no_grad():
            logits = llama(torch.tensor([[*context, *continuation[:-1]]])).logits[0, len(context) - 1 :]
        plain = logits.log_softmax(-1).gather(1, torch.tensor(continuation)[:, None]).sum().item()
        assert score == pytest.approx(plain, abs=1e-4)


@pytest.mark.parametrize("batch_size", [1, 3, "auto"])
def test_nested_prefixes_change_no_answer_whatever_the_batch_and_order(llama, tiny_tokenizer, batch_size):
    theirs = HFLM(pretrained=llama, tokenizer=tiny_tokenizer, batch_size=1)
    expected = theirs.loglikelihood(requests("loglikelihood", FEWSHOT))
    order = torch.randperm(len(FEWSHOT), generator=torch.Generator().manual_seed(0)).tolist()
    shuffled = requests("loglikelihood", [FEWSHOT[number] for number in order])
    found = LanguageModel(llama, tiny_tokenizer, batch_size).loglikelihood(shuffled)
    for number, (score, greedy) in zip(order, found, strict=True):
        assert score == pytest.approx(expected[number][0], abs=1e-4)
        assert greedy == expected[number][1]


def test_every_shared_prefix_is_computed_once_even_row_by_row(llama, tiny_tokenizer):
    computed = {}
    for batch_size in (1, "auto"):
        ours = LanguageModel(llama, tiny_tokenizer, batch_size)
        real = computed.setdefault(batch_size, [])
        run = ours.forward._run
        ours.forward._run = lambda batch, *more, run=run, real=real: (
            real.extend((node.row.tokens[: node.end], node.start) for _, node in batch) or run(batch, *more)
        )
        ours.loglikelihood(requests("loglikelihood", FEWSHOT))
        assert len(set(real)) == len(real)
    assert sorted(computed[1]) == sorted(computed["auto"])
    examples = [len(tiny_tokenizer(text)["input_ids"]) for text in EXAMPLES]
    assert sum(start == 0 and len(tokens) >= min(examples) for tokens, start in computed[1]) == 2


def test_the_tree_does_not_depend_on_order_and_holds_every_row():
    generator = torch.Generator().manual_seed(1)
    rows = {Row(tuple(torch.randint(3, (length % 9 + 2,), generator=generator).tolist()), 1) for length in range(99)}
    assert tree(sorted(rows)) == tree(sorted(rows, reverse=True))
    assert sorted(row for node in tree(rows) for row in node.rows()) == sorted(rows)


def test_answers_are_the_same_after_memory_ran_out_and_the_batch_is_recorded(llama, tiny_tokenizer):
    expected = LanguageModel(llama, tiny_tokenizer).loglikelihood(requests("loglikelihood", FEWSHOT))
    ours = LanguageModel(llama, tiny_tokenizer)
    runs_out_of_memory(ours, above=3)
    found = ours.loglikelihood(requests("loglikelihood", FEWSHOT))
    assert [score for score, _ in found] == pytest.approx([score for score, _ in expected], abs=1e-4)
    assert [greedy for _, greedy in found] == [greedy for _, greedy in expected]
    assert 1 <= ours.forward.rows_at_most <= 3


def test_a_truncated_question_says_so(llama, tiny_tokenizer):
    asked = requests("loglikelihood", PAIRS)
    LanguageModel(llama, tiny_tokenizer).loglikelihood(asked)
    assert [request.measures for request in asked[-2:]] == [{"truncated": 1}] * 2
    assert all(request.measures == {} for request in asked[:-2])
    generated = requests("generate_until", PROMPTS)
    LanguageModel(llama, tiny_tokenizer).generate_until(generated)
    assert [request.measures for request in generated] == [{}] * 5 + [{"truncated": 1}]


@pytest.mark.parametrize("lacking", ["pad_token", "bos_token"])
def test_a_tokenizer_without_pad_or_bos_answers_as_hflm_does(llama, tiny_tokenizer, lacking):
    """Nothing is padded with a token that counts; without BOS, EOS stands before an empty context."""
    tokenizer = copy.deepcopy(tiny_tokenizer)
    setattr(tokenizer, lacking, None)
    ours = LanguageModel(llama, tokenizer)
    found = ours.loglikelihood(requests("loglikelihood", PAIRS))
    theirs = HFLM(pretrained=llama, tokenizer=copy.deepcopy(tokenizer), batch_size=3)
    expected = theirs.loglikelihood(requests("loglikelihood", PAIRS))
    assert [score for score, _ in found] == pytest.approx([score for score, _ in expected], abs=1e-4)
    assert getattr(tokenizer, lacking) is None
    assert ours.prefix_token_id == (2 if lacking == "bos_token" else 1)


def test_a_tokenizer_without_eos_ends_at_stop_strings(llama, tiny_tokenizer):
    tokenizer = copy.deepcopy(tiny_tokenizer)
    tokenizer.eos_token = None
    found = LanguageModel(llama, tokenizer).generate_until(requests("generate_until", PROMPTS))
    assert found == LanguageModel(llama, tiny_tokenizer).generate_until(requests("generate_until", PROMPTS))


def test_a_tokenizer_with_neither_bos_nor_eos_is_refused(llama, tiny_tokenizer):
    tokenizer = copy.deepcopy(tiny_tokenizer)
    tokenizer.bos_token = tokenizer.eos_token = None
    with pytest.raises(PalimpsestError, match="neither a BOS nor an EOS"):
        LanguageModel(llama, tokenizer)


def test_a_task_more_costs_the_passes_of_that_task_only(llama, tiny_tokenizer, tmp_path):
    def passes(*asked, cache):
        ours = LanguageModel(llama, tiny_tokenizer, cache=AnswerCache(tmp_path / cache))
        for kind, arguments in asked:
            getattr(ours, kind)(requests(kind, arguments))
        return ours.forward.passes

    old, new = ("loglikelihood", FEWSHOT), ("loglikelihood_rolling", TEXTS)
    assert passes(old, cache="a.sqlite") > 0
    assert passes(old, new, cache="a.sqlite") == passes(new, cache="b.sqlite") > 0


def direct_divergence(dense, variant, ids):
    """Mean over the tokens after the first of a plain loop in float64."""
    with torch.no_grad():
        p, q = (model(torch.tensor([ids])).logits[0, :-1].double().softmax(-1) for model in (dense, variant))
    total = 0.0
    for expected, found in zip(p.tolist(), q.tolist(), strict=True):
        total += sum(a * (torch.tensor(a).log() - torch.tensor(b).log()).item() for a, b in zip(expected, found))  # noqa: B905
    return total / (len(ids) - 1)


@pytest.fixture(scope="module")
def pruned(llama):
    variant = copy.deepcopy(llama)
    for name, weight in variant.named_parameters():
        if "proj" in name:
            weight.data[weight.abs() < weight.abs().median()] = 0
    return variant


@pytest.mark.parametrize("batch_size", [1, "auto"])
def test_the_divergence_from_dense_is_that_of_a_plain_loop(llama, pruned, tiny_tokenizer, batch_size):
    asked = requests("loglikelihood_rolling", [TEXTS[0], TEXTS[3]])
    ours = LanguageModel(pruned, tiny_tokenizer, batch_size, bos_once=True, dense=Reference("d" * 64, lambda: llama))
    ours.loglikelihood_rolling(asked)
    for request in asked:
        expected = direct_divergence(llama, pruned, tiny_tokenizer(request.args[0])["input_ids"])
        assert expected > 1e-4
        assert request.measures["kl_to_dense"] == pytest.approx(expected, rel=1e-4, abs=2e-6)


def test_the_dense_model_diverges_by_nothing_from_itself(llama, tiny_tokenizer):
    asked = requests("loglikelihood_rolling", TEXTS)
    LanguageModel(llama, tiny_tokenizer, dense=Reference("d" * 64, None)).loglikelihood_rolling(asked)
    assert [request.measures for request in asked] == [{"kl_to_dense": 0.0}] * len(TEXTS)


def test_a_divergence_is_kept_by_the_dense_model_that_it_is_from(llama, pruned, tiny_tokenizer, tmp_path):
    loaded = []

    def ask(digest):
        dense = Reference(digest, lambda: loaded.append(digest) or llama)
        asked = requests("loglikelihood_rolling", TEXTS)
        cache = AnswerCache(tmp_path / "v.sqlite")
        LanguageModel(pruned, tiny_tokenizer, cache=cache, dense=dense).loglikelihood_rolling(asked)
        return [request.measures["kl_to_dense"] for request in asked]

    assert ask("a") == ask("a") == ask("b")
    assert loaded == ["a", "b"]
