"""Questions after examples: those of the question's own group, and fewer where a prompt would be too long."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from lm_eval.api.task import ConfigurableTask


class FewshotTask(ConfigurableTask):
    """lm-eval's task with examples by group.

    Args:
        by: field of rows and examples that must agree (MMLU's subject); all examples serve all rows if it is None.
        fits: whether a prompt is short enough. Where one is not, examples are left out from the last on.
    """

    def __init__(
        self,
        config: dict[str, Any],
        examples: Sequence[dict[str, Any]],
        by: str | None = None,
        fits: Callable[[str], bool] | None = None,
    ) -> None:
        super().__init__(config=config)
        self.by, self.fits = by, fits
        self.groups: dict[Any, list[dict[str, Any]]] = defaultdict(list)
        for example in examples:
            self.groups[example.get(by)].append(example)

    def fewshot_context(self, doc: dict[str, Any], num_fewshot: int, **arguments: Any) -> str | list[str]:
        if self.by:
            self.sampler.replace_df(self.groups[doc[self.by]])
        prompt = super().fewshot_context(doc, num_fewshot, **arguments)
        while num_fewshot and self.fits and not self.fits(prompt):
            num_fewshot -= 1
            prompt = super().fewshot_context(doc, num_fewshot, **arguments)
        return prompt
