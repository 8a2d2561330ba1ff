"""The world's tokenizer: one word, one token; a `<bos>` before every document."""

from __future__ import annotations

import re
from pathlib import Path

from palimpsest.world import prose
from palimpsest.world.forms import ATTRIBUTES
from palimpsest.world.people import Population

SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>")
PAD, BOS, EOS, UNK = range(4)
EXTRA_WORDS = "question : answer in short unknown"


def words(population: Population) -> list[str]:
    """The vocabulary in the order of its ids: special tokens, names, values, then every other word."""
    values = [value for attribute in ATTRIBUTES for value in attribute.values]
    other = prose.vocabulary() | set(EXTRA_WORDS.split())
    for attribute in ATTRIBUTES:
        for form in attribute.statements + attribute.questions:
            other |= set(re.sub(r"\{[nv]\}", "", form).split())
    vocabulary = list(SPECIAL) + population.names + values + sorted(other)
    if len(set(vocabulary)) != len(vocabulary):
        clash = sorted({word for word in vocabulary if vocabulary.count(word) > 1})
        raise ValueError(f"two things of the world have one word: {', '.join(clash)}")
    return vocabulary


def write_tokenizer(folder: Path, vocabulary: list[str], context: int) -> None:
    """Write tokenizer.json and tokenizer_config.json, which `AutoTokenizer` loads."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(vocabulary)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", BOS)])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=context,
        bos_token="<bos>",
        eos_token="<eos>",
        unk_token="<unk>",
        pad_token="<pad>",
        clean_up_tokenization_spaces=False,
    ).save_pretrained(folder)
