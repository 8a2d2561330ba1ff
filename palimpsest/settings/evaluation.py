"""How variants are evaluated, compared and measured."""

from __future__ import annotations

from pydantic import Field

from palimpsest.settings.base import Count, Counts, Real, Settings, TaskName


class TaskData(Settings):
    """Where a task's rows come from, how many of them are asked, and with what before them."""

    revision: str | None = Field(
        None,
        pattern=r"^[0-9a-f]{40}$",
        description="Commit of the task's data set on the hub, 40 hexadecimal digits; its page lists them. A branch "
        "can move. If left out, the data is taken from the task's folder under `PALIMPSEST_DATA`.",
        examples=["0123456789abcdef0123456789abcdef01234567"],
    )
    rows: Count | None = Field(
        None,
        description="Ask about so many rows, drawn once and for all; a larger number contains a smaller one's. What "
        "belongs together (a passage, a fact) is drawn whole.",
        examples=[200],
    )
    num_fewshot: int | None = Field(
        None, ge=0, description="Examples before each question; the task's own number if left out.", examples=[5]
    )
    window: int | None = Field(
        None,
        ge=2,
        description="Tokens a window, of tasks that cut running text into windows; it stands in the metric's name.",
        examples=[2048],
    )
    training_share: Real | None = Field(
        None,
        gt=0,
        lt=1,
        description="Share of the task's rows that encoders are fine-tuned on, for tasks that have no other training "
        "rows; drawn by what belongs together. Nobody is asked these.",
        examples=[0.5],
    )
    training_rows: Count | None = Field(
        None, description="Fine-tune on so many rows at most, drawn once and for all; all if left out.", examples=[2000]
    )


class Measurement(Settings):
    """How latency is measured."""

    context: Counts = Field(64, description="Tokens of the prompt; a list for several lengths.", examples=[[64, 512]])
    new_tokens: Count = Field(16, description="Tokens generated after it.")
    repeats: Count = Field(5, description="Repetitions; the median is reported.")


class Similarity(Settings):
    """How near attention and activations come to those of other models, text by text."""

    tasks: list[TaskName] = Field(
        default=["closed_book", "perplexity"],
        min_length=1,
        description="Tasks of the study whose texts are read: questions as they are asked, or the texts themselves.",
    )
    texts: int = Field(100, ge=10, description="Texts of each task, evenly spread over its rows.")
