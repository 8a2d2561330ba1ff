"""Write the folder of one task: python scripts/task_data.py --task blimp --output results/…/tasks/blimp"""

from __future__ import annotations

import argparse
import json
import os

from palimpsest import job


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Write a task's lm-eval YAML and its rows, every row checked.")
    parser.add_argument("--task", required=True, help="a file of palimpsest/evaluation/tasks, or lm-eval's name")
    parser.add_argument("--world", metavar="FOLDER", help="the generated world, for tasks that come from it")
    parser.add_argument("--options", type=json.loads, default={}, metavar="JSON", help="the study's `data` of the task")
    parser.add_argument("--training", action="store_true", help="the rows that a classifier of the task is trained on")
    parser.add_argument("--output", required=True, metavar="FOLDER", help="where <task>.yaml and <task>.jsonl go")
    return parser


def main(args: argparse.Namespace) -> None:
    for bars in ("HF_HUB_DISABLE_PROGRESS_BARS", "HF_DATASETS_DISABLE_PROGRESS_BARS"):
        os.environ[bars] = "1"  # a log is no place for them
    from palimpsest.evaluation.data import write_task, write_training

    write = write_training if args.training else write_task
    write(args.task, args.output, world=args.world, options=args.options)


if __name__ == "__main__":
    job.run(main, parser())
