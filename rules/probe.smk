# Classifiers on the stored hidden states of every variant, in one job.

PROBES = f"{RESULTS}/probes.parquet" if study.probes else []


rule probe:
    input:
        features=[FEATURES_DONE.format(**variant.wildcards) for variant in grid.variants()] if study.probes else [],
        tasks=PROBE_TASKS,
    output:
        probes=f"{RESULTS}/probes.parquet",
        said=f"{RESULTS}/probe_answers.parquet",
        times=times("probe"),
    log:
        log_of("probe"),
    conda:
        "../envs/palimpsest.yaml"
    params:
        code=code("probe"),
        results=subpath(output.probes, parent=True),
        study=STUDY_FILE,
    shell:
        "python scripts/probe.py --study {params.study:q} --results {params.results:q} "
        "--output {output.probes:q} --times {output.times:q} 2> {log:q}"
