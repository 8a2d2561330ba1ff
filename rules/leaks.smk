# Whether the texts of calibrations and recoveries say what the tasks ask.

LEAKS = f"{RESULTS}/leaks.csv" if names.reads_texts(study) else []


rule leaks:
    input:
        tasks=ALL_TASKS,
        calibrations=[f"{grid.calibration_folder(*needed)}/{DONE}" for needed in grid.calibrations()],
        models=sorted({MODEL_DONE.format(model=needed[0]) for needed in grid.calibrations()}),
        texts=sorted(
            {
                text_source(text)
                for variant in grid.variants()
                if (recovery := grid.recovery(variant))
                for text in training_texts(recovery)
            }
        ),
        training=[TRAINING_DONE.format(task=task) for task in grid.learned_tasks()],
    output:
        leaks=f"{RESULTS}/leaks.csv",
        times=times("leaks"),
    log:
        log_of("leaks"),
    conda:
        "../envs/palimpsest.yaml"
    params:
        code=code("leaks"),
        results=subpath(output.leaks, parent=True),
        study=STUDY_FILE,
    shell:
        "python scripts/leaks.py --study {params.study:q} --results {params.results:q} --output {output.leaks:q} "
        "--times {output.times:q} 2> {log:q}"
