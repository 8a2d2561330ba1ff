"""Write the folder of one task: python scripts/task_data.py --task blimp --output results/…/tasks/blimp"""

from __future__ import annotations

import argparse

from palimpsest import job


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Write a task's lm-eval YAML and its rows, every row checked.")
    parser.add_argument("--task", required=True, help="name of a YAML file in palimpsest/evaluation/tasks")
    parser.add_argument("--world", metavar="FOLDER", help="the generated world, for tasks that come from it")
    parser.add_argument("--output", required=True, metavar="FOLDER", help="where <task>.yaml and <task>.jsonl go")
    return parser


def main(args: argparse.Namespace) -> None:
    from palimpsest.evaluation.data import write_task

    write_task(args.task, args.output, world=args.world)


if __name__ == "__main__":
    job.run(main, parser())
