"""Small encoders and a task that they can learn: does the first word of a text say which class it is?"""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from palimpsest.evaluation.definition import shipped
from palimpsest.provenance import atomic_folder

SMALL = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48,
    "max_position_embeddings": 40, "initializer_range": 0.2,
}  # fmt: skip
COLOURS, OTHERS = ("red", "blue", "green"), ("dog", "cat", "house", "river")


def encoder_tokenizer():
    """A word-level tokenizer with [CLS] and [SEP], and a pair's second text of type 1."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]", *COLOURS, *OTHERS, "the", "is", "a"]
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", unk_token="[UNK]",
        mask_token="[MASK]",
    )  # fmt: skip


def make_encoder(folder: Path, name: str = "BertForMaskedLM", **changes) -> Path:
    """A dense folder with a random encoder of transformers' class `name`."""
    import torch
    import transformers

    kind, tokenizer = getattr(transformers, name), encoder_tokenizer()
    torch.manual_seed(0)
    settings = {"vocab_size": len(tokenizer), "pad_token_id": 0} | SMALL | changes
    with atomic_folder(folder) as temporary:
        kind(kind.config_class(**settings)).save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
    return folder


def sentence(number: int) -> str:
    first = (COLOURS[number % 3],) if number % 2 else (OTHERS[number % 4],)
    return " ".join(first + tuple(OTHERS[(number * 7 + place) % 4] for place in range(number % 5)))


def write_folder(folder: Path, task: str, rows: list[dict]) -> Path:
    """A task's folder, or one of its training rows."""
    wanted = shipped(task) | {"dataset_kwargs": {"data_files": {"test": f"{task}.jsonl"}}}
    with atomic_folder(folder / task) as temporary:
        (temporary / f"{task}.yaml").write_text(yaml.safe_dump(wanted, sort_keys=False))
        (temporary / f"{task}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / task


def sentiments(first: int, last: int) -> list[dict]:
    """Rows of SST-2: a sentence that begins with a colour is positive."""
    options = ["negative", "positive"]
    return [
        {"id": str(n), "sentence": sentence(n), "options": options, "label": n % 2, "answer": options[n % 2]}
        for n in range(first, last)
    ]


def pairs(first: int, last: int) -> list[dict]:
    """Rows of the world's entailment: the statement that repeats the passage's word is the true one."""
    rows = []
    for n in range(first, last):
        right, wrong = f"a {OTHERS[n % 4]}", f"a {OTHERS[(n + 1) % 4]}"
        options = [right, wrong] if n % 3 else [wrong, right]
        rows.append({"id": str(n), "premise": f"the {OTHERS[n % 4]} is", "options": options, "answer": right})
    return rows
