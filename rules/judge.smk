# A model of the study judges every variant's free texts, and what GPT-4 judged, which tells how far to believe it.

JUDGED = grid.judged_tasks
JUDGEMENTS = [f"{RESULTS}/{variant.path}/judgements.parquet" for variant in grid.variants() if JUDGED]
AGREEMENT = f"{RESULTS}/agreement.parquet" if JUDGED else []
JUDGE_DONE = CELL_DONE.format(model=study.judge, label="dense", level="full", seed="s0") if JUDGED else []
STORED = stored_judgements()


rule judge:
    input:
        judge=JUDGE_DONE,
        answers=ANSWERS,
        dense=dense_answers,
        tasks=[TASK_DONE.format(task=task) for task in JUDGED],
    output:
        judgements=f"{VARIANT}/judgements.parquet",
        times=times(f"judge/{CELL}/{{recovery}}"),
    log:
        log_of(f"judge/{CELL}/{{recovery}}"),
    conda:
        "../envs/palimpsest.yaml"
    params:
        code=code("judge"),
        judge=lambda wildcards, input: os.path.dirname(input.judge),
        dense=lambda wildcards, input: ["--dense", input.dense] if input.dense else [],
        tasks=lambda wildcards, input: [os.path.dirname(path) for path in input.tasks],
        cache=f"{STORE}/answers",
    shell:
        "python scripts/judge.py --judge {params.judge:q} --answers {input.answers:q} {params.dense:q} "
        "--tasks {params.tasks:q} --cache {params.cache:q} --output {output.judgements:q} --times {output.times:q} 2> {log:q}"


rule agreement:
    input:
        judge=JUDGE_DONE,
        stored=[str(file) for folder in sorted(set(STORED.values())) for file in sorted(folder.rglob("*.jsonl"))],
    output:
        agreement=f"{RESULTS}/agreement.parquet",
        times=times("agreement"),
    log:
        log_of("agreement"),
    conda:
        "../envs/palimpsest.yaml"
    params:
        code=code("judge"),
        judge=lambda wildcards, input: os.path.dirname(input.judge),
        stored=[f"{task}={folder}" for task, folder in STORED.items()],
        cache=f"{STORE}/answers",
    shell:
        "python scripts/agreement.py --judge {params.judge:q} --stored {params.stored:q} --cache {params.cache:q} "
        "--output {output.agreement:q} --times {output.times:q} 2> {log:q}"
