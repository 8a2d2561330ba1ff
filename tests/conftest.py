"""Fixtures that several test files share: a tiny random Llama, its tokenizer, its calibration rows."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

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


@pytest.fixture(scope="session")
def tiny_tokenizer():
    return make_tokenizer()


@pytest.fixture(scope="session")
def make_tiny_model():
    """`make_model_folder(folder, seed=0, **changes)`, for tests that want another random Llama than the shared one."""
    return make_model_folder


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory) -> Path:
    """The dense folder of a random Llama: hidden 32, 2 layers, 4 heads (2 of keys and values), vocabulary of words."""
    return make_model_folder(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def tiny_calibration_folder(tmp_path_factory) -> Path:
    """An artifact folder as `calibrate` writes it: 24 right-padded rows of up to 16 tokens."""
    import torch
    from safetensors.torch import save_file

    from palimpsest.provenance import atomic_folder, write_json

    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(5, 17, (24,), generator=generator)
    rows = torch.randint(4, len(SPECIAL + WORDS), (24, 16), generator=generator)
    rows[:, 0] = 1
    rows[torch.arange(16) >= lengths[:, None]] = 0
    folder = tmp_path_factory.mktemp("calibration") / "s0"
    with atomic_folder(folder) as temporary:
        save_file({"input_ids": rows, "lengths": lengths}, temporary / "tokens.safetensors")
        write_json(temporary / "calibration.json", {"samples": 24, "length": 16, "seed": 0, "text": "random words"})
    return folder
