# before the first job and after the last: one snakemake for a study, and a cluster that fits it


onstart:
    jobs = [job for job in workflow.dag.needrun_jobs() if job.rule.name not in READING]
    if jobs:
        try:
            hold_locks(jobs)
            cancel_leftovers()
            if executor := get_slurm_executor():
                check_cluster(executor, jobs)
        except WeightscapeError as error:
            raise WorkflowError(str(error)) from None


onsuccess:
    end_study("finished")


onerror:
    end_study("failed")
