# Size, memory and latency of every variant, in one job that has the machine to itself.


rule measure:
    input:
        cells=[CELL_DONE.format(**cell.wildcards) for cell in grid.cells()],
        adapters=[ADAPTER_DONE.format(**variant.wildcards) for variant in grid.variants() if variant.recovery != NONE],
    output:
        measurements=f"{RESULTS}/measurements.parquet",
        rounds=f"{RESULTS}/latency.parquet",
        times=times("measure"),
    log:
        log_of("measure"),
    conda:
        "../envs/palimpsest.yaml"
    threads: 256  # all that there are: Snakemake clips it
    params:
        code=code("measure"),
        results=subpath(output.measurements, parent=True),
        study=STUDY_FILE,
        settings=study.measurement,
    shell:
        "python scripts/measure.py --study {params.study:q} --results {params.results:q} "
        "--output {output.measurements:q} --rounds {output.rounds:q} --times {output.times:q} 2> {log:q}"
