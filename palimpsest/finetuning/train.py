"""Fine-tune an encoder on the rows of a task: a dense folder becomes a dense classifier."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from palimpsest.finetuning.batches import endless_batches
from palimpsest.finetuning.checkpoint import Checkpoint, trainable
from palimpsest.finetuning.examples import Batch, encode, pad, read_examples
from palimpsest.finetuning.head import with_head
from palimpsest.finetuning.loop import Training, train
from palimpsest.provenance import atomic_folder, folder_digest, read_json, write_json
from palimpsest.versions import code

CLIP = 1.0  # largest norm of the gradient of a step (Devlin et al., arXiv:1810.04805)
STEPS, BATCH_SIZE, LEARNING_RATE = 300, 16, 1e-4
EMBEDDINGS = "embeddings.word_embeddings."


def fine_tune(
    model_folder: Path | str,
    training_folder: Path | str,
    output_folder: Path | str,
    *,
    of: str | None = None,
    steps: int = STEPS,
    batch_size: int = BATCH_SIZE,
    learning_rate: float = LEARNING_RATE,
    seed: int = 0,
    embeddings: bool = True,
    state_folder: Path | str | None = None,
    checkpoint_minutes: float = 2.0,
) -> None:
    """Train a head on the encoder of `model_folder`, and the encoder with it, and write a Hugging Face folder.

    training_folder: rows of a task, from `evaluation.data.write_training`.
    of: the study's name of the encoder, for `source.json`.
    embeddings: whether those of words are trained too; they are a large part of a small encoder.
    state_folder: where a training that is killed leaves its state, every `checkpoint_minutes`; the same call then goes
        on from there and ends with the same bytes.
    AdamW without weight decay, a short warm-up and linear decay; the loss is cross-entropy.
    """
    from palimpsest.loading import load_tokenizer

    model_folder, training_folder = Path(model_folder), Path(training_folder)
    examples, classes = read_examples(training_folder)
    model, tokenizer = with_head(model_folder, classes, seed), load_tokenizer(model_folder)
    freeze(model, embeddings)
    made = {
        "source": "fine-tuned",
        "of": of,
        "of_digest": folder_digest(model_folder),
        "of_source": read_json(origin) if (origin := model_folder / "source.json").exists() else None,
        "task": training_folder.name,
        "training_rows": folder_digest(training_folder),
        "training": {
            "steps": steps,
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "seed": seed,
            "embeddings": embeddings,
        },
    }
    checkpoint = Checkpoint(state_folder, made | {"of": None, "code": code("fine_tune")}, checkpoint_minutes)
    trained = run(model, tokenizer, examples, made["training"], checkpoint, f"fine-tune {of or model_folder.name}")
    model.load_state_dict(trained.best_state, strict=False)
    with atomic_folder(Path(output_folder)) as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        write_json(folder / "source.json", made)
    checkpoint.remove()


def freeze(model: nn.Module, embeddings: bool) -> None:
    """Let everything be trained, or everything but the embeddings of words."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(parameter.is_floating_point() and (embeddings or EMBEDDINGS not in name))


def run(
    model: nn.Module, tokenizer, examples, training: Mapping[str, Any], checkpoint: Checkpoint, name: str
) -> Training:
    """Train what of `model` is not frozen; the state of the last step is the best one."""
    rows, padding = encode(examples, tokenizer, model), tokenizer.pad_token_id or 0
    return train(
        model,
        class_loss,
        endless_batches(rows, training["batch_size"], training["seed"], lambda some: pad(some, padding)),
        [],
        steps=training["steps"],
        learning_rate=training["learning_rate"],
        validate_every=max(1, training["steps"] // 10),
        patience=1,
        checkpoint=checkpoint,
        name=name,
        state=lambda model: {name: tensor.detach().clone() for name, tensor in trainable(model).items()},
        clip=CLIP,
    )


def class_loss(model: nn.Module, batch: Batch) -> Tensor:
    """Σ −ln p(class) over the rows."""
    return cross_entropy(model(**batch.inputs).logits.float(), batch.labels, reduction="sum")
