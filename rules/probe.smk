# Probes: their rows, the random floor of each model, and classifiers on what `evaluate` stored of every variant.

PROBES = expand(f"{RESULTS}/probes/{{probe}}.parquet", probe=grid.probes)


rule probe_data:
    input:
        lambda wildcards: probe_inputs(wildcards.probe),
    output:
        done=PROBE_DONE,
        times=times("probe_data/{probe}"),
    log:
        log_of("probe_data/{probe}"),
    conda:
        "../envs/palimpsest.yaml"
    params:
        code=code("probe_data"),
        folder=subpath(output.done, parent=True),
        source=lambda wildcards, input: ["--world", os.path.dirname(WORLD_DONE)] if WORLD_DONE in input else [],
        rows=lambda wildcards: grid.probes[wildcards.probe].rows,
        definition=lambda wildcards: probes.probes()[wildcards.probe],
    shell:
        "python scripts/probe_data.py --probe {wildcards.probe:q} --rows {params.rows} {params.source:q} "
        "--output {params.folder:q} --times {output.times:q} 2> {log:q}"


rule floor:
    # A model of the same architecture whose weights were drawn and never trained.
    input:
        model=MODEL_DONE,
        probes=lambda wildcards: expand(PROBE_DONE, probe=grid.probes_of_model(wildcards.model)),
    output:
        features=FLOOR_DONE,
        times=times("floor/{model}"),
    log:
        log_of("floor/{model}"),
    conda:
        "../envs/palimpsest.yaml"
    params:
        code=code("floor"),
        model=subpath(input.model, parent=True),
        folder=subpath(output.features, parent=True),
        probes=lambda wildcards, input: [os.path.dirname(path) for path in input.probes],
        probing=lambda wildcards: probing_json(grid.probes_of_model(wildcards.model)),
    shell:
        "python scripts/floor.py --model {params.model:q} --probes {params.probes:q} --probing {params.probing:q} "
        "--output {params.folder:q} --times {output.times:q} 2> {log:q}"


rule probe:
    input:
        rows=PROBE_DONE,
        features=lambda wildcards: [
            FEATURES_DONE.format(**variant.wildcards) for variant in grid.probed(wildcards.probe)
        ],
        floors=lambda wildcards: sorted(
            {FLOOR_DONE.format(model=variant.cell.model) for variant in grid.probed(wildcards.probe)}
        ),
    output:
        probe=f"{RESULTS}/probes/{{probe}}.parquet",
        times=times("probe/{probe}"),
    log:
        log_of("probe/{probe}"),
    conda:
        "../envs/palimpsest.yaml"
    params:
        code=code("probe"),
        results=subpath(output.probe, ancestor=2),
        study=STUDY_FILE,
        probing=lambda wildcards: probing_json([wildcards.probe]),
    shell:
        "python scripts/probe.py --study {params.study:q} --results {params.results:q} --probe {wildcards.probe:q} "
        "--output {output.probe:q} --times {output.times:q} 2> {log:q}"
