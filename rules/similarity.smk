# How near the attention and the activations of every recovery come to those of the dense model and its cell, in one job.

SIMILARITY = f"{RESULTS}/similarity.parquet" if study.similarity else []
RECOVERED = [variant for variant in grid.variants() if variant.recovery != NONE]
SIMILARITY_TASKS = [TASK_DONE.format(task=task) for task in study.similarity.tasks] if study.similarity else []


rule similarity:
    input:
        cells=sorted({CELL_DONE.format(**variant.cell.wildcards) for variant in RECOVERED}),
        adapters=[ADAPTER_DONE.format(**variant.wildcards) for variant in RECOVERED],
        dense=sorted({MODEL_DONE.format(model=variant.cell.model) for variant in RECOVERED}),
        tasks=SIMILARITY_TASKS,
    output:
        similarity=f"{RESULTS}/similarity.parquet",
        times=times("similarity"),
    log:
        log_of("similarity"),
    conda:
        "../envs/palimpsest.yaml"
    params:
        code=code("similarity"),
        results=subpath(output.similarity, parent=True),
        study=STUDY_FILE,
        settings=study.similarity,
    shell:
        "python scripts/similarity.py --study {params.study:q} --results {params.results:q} "
        "--output {output.similarity:q} --times {output.times:q} 2> {log:q}"
