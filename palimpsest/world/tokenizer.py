"""The world's tokenizers: one word, one token; a decoder's puts `<bos>` before a document, an encoder's `<cls>`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from palimpsest.world import prose
from palimpsest.world.forms import ATTRIBUTES
from palimpsest.world.people import Population

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>")
PAD, BOS, EOS, UNK = range(4)
CLS, SEP = BOS, EOS  # of an encoder
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
    """Write tokenizer.json and tokenizer_config.json, which `AutoTokenizer` loads: a decoder's."""
    from tokenizers import processors

    ids = {word: index for index, word in enumerate(vocabulary)}
    post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", BOS)])
    _fast(ids, post_processor, context, bos_token="<bos>", eos_token="<eos>").save_pretrained(folder)


def encoder_tokenizer(decoders: PreTrainedTokenizerBase) -> PreTrainedTokenizerFast:
    """An encoder's tokenizer, with the ids of the decoders': `<cls>` and `<sep>` for `<bos>` and `<eos>`, and `<mask>`.

    One text is `<cls> … <sep>`, a pair `<cls> … <sep> … <sep>`, its second text of token type 1.
    """
    from tokenizers import processors

    ids = dict(decoders.get_vocab())
    ids |= {"<cls>": ids.pop("<bos>"), "<sep>": ids.pop("<eos>"), "<mask>": len(decoders)}
    post_processor = processors.TemplateProcessing(
        single="<cls> $A <sep>",
        pair="<cls> $A <sep> $B:1 <sep>:1",
        special_tokens=[("<cls>", CLS), ("<sep>", SEP)],
    )
    return _fast(
        ids,
        post_processor,
        decoders.model_max_length,
        cls_token="<cls>",
        sep_token="<sep>",
        mask_token="<mask>",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


def _fast(ids: dict[str, int], post_processor, context: int, **said) -> PreTrainedTokenizerFast:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    tokenizer.post_processor = post_processor
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=context,
        **said,
        unk_token="<unk>",
        pad_token="<pad>",
        clean_up_tokenization_spaces=False,
    )
