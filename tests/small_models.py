"""Random models and their tokenizer, for tests that need one. (`conftest` is no name to import: there are several.)"""

from __future__ import annotations

from pathlib import Path

SPECIAL = ["<pad>", "<bos>", "<eos>", "<unk>"]
WORDS = str.split(
    ". : , ? the a of is was in does where live born question answer Alba Kori Miro Tanel Ida Reus Torun Lund Faro "
    "Gdynia baker smith nurse pilot red blue green grey old young dog cat house river sees likes and not who what "
    "colour trade town year works as lives"
)


def make_tokenizer():
    """A word-level tokenizer: <pad>=0, <bos>=1, <eos>=2, <unk>=3; it adds <bos> itself."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: number for number, word in enumerate(SPECIAL + WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", unk_token="<unk>"
    )


def make_model_folder(folder: Path, seed: int = 0, **changes) -> Path:
    """A dense checkpoint folder with random weights, as the `sources` stage leaves it: HF files and digests.json."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from palimpsest.provenance import atomic_folder

    architecture = {
        "vocab_size": len(SPECIAL + WORDS),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "tie_word_embeddings": True,
        "initializer_range": 0.2,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    torch.manual_seed(seed)
    model = LlamaForCausalLM(LlamaConfig(**(architecture | changes)))
    with atomic_folder(folder) as temporary:
        model.save_pretrained(temporary)
        make_tokenizer().save_pretrained(temporary)
    return folder
