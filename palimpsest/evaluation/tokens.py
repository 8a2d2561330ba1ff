"""Text to tokens as lm-eval's `HFLM` does it, many strings at once."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence

from palimpsest.provenance import PalimpsestError

Tokens = tuple[int, ...]
Pair = tuple[Tokens, Tokens]  # context, continuation


class Encoder:
    """A tokenizer with the token that stands before an empty context (BOS, or EOS where there is none)."""

    def __init__(self, tokenizer) -> None:
        self.tokenizer = tokenizer
        self.prefix = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
        if self.prefix is None:
            raise PalimpsestError(
                "the tokenizer has neither a BOS nor an EOS token, so nothing can stand before an empty context. Name "
                "one in its tokenizer_config.json (bos_token or eos_token)."
            )

    def pairs(self, strings: Sequence[tuple[str, str]]) -> list[Pair]:
        """Contexts and continuations, cut where the context's own tokens end (`TemplateLM._encode_pair`).

        Spaces at the end of a context go to the continuation.
        """
        moved = []
        for context, continuation in strings:
            bare = context.rstrip()
            moved.append((bare, context[len(bare) :] + continuation))
        contexts = self.encode([context for context, _ in moved], True)
        # Where no token crosses a space, the continuation alone has the tokens that it has after its context.
        apart = self.words_apart and all(text[:1] == " " for context, text in moved if context)
        alone = self.encode([text if apart or not context else "" for context, text in moved], False)
        wholes = self.encode(["" if apart else context + text for context, text in moved], True)
        pairs = []
        for (context, _), before, whole, bare in zip(moved, contexts, wholes, alone, strict=True):
            if context:
                pairs.append((before, bare if apart else whole[len(before) :]))
            elif bare[:1] != (self.prefix,):
                pairs.append(((self.prefix,), bare))
            else:
                pairs.append((bare[:1], bare[1:]))
        return pairs

    def encode(self, strings: Sequence[str], special: bool) -> list[Tokens]:
        """Tokens of each string, every distinct string once. A string that starts with BOS gets no second one."""
        encoded: dict[str, Tokens] = {}
        bos = self.tokenizer.decode([self.prefix])
        starts = {string: bool(bos) and string.startswith(bos) for string in dict.fromkeys(strings)}
        for add in (True, False):
            some = [string for string, starts_with_bos in starts.items() if (special and not starts_with_bos) is add]
            if some:
                ids = self.tokenizer(
                    some, add_special_tokens=add, return_attention_mask=False, return_token_type_ids=False
                )["input_ids"]
                encoded.update((string, tuple(row)) for string, row in zip(some, ids, strict=True))
        return [encoded[string] for string in strings]

    @functools.cached_property
    def words_apart(self) -> bool:
        """Whether every token is one word between spaces, and special tokens are added in front only."""
        try:
            parts = json.loads(self.tokenizer.backend_tokenizer.to_str())
        except AttributeError:  # a tokenizer without Rust inside
            return False
        kinds = [(parts.get(part) or {}).get("type") for part in ("model", "pre_tokenizer", "normalizer")]
        before, alone = self.encode(["a a"], True)[0], self.encode(["a a"], False)[0]
        return kinds == ["WordLevel", "WhitespaceSplit", None] and before[-len(alone) :] == alone
