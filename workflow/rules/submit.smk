"""The executor that submits to Slurm: the plugin's, for days on which the cluster is not well.

With adapter.smk, the only place that knows the plugin's inner parts. What can be said without
Snakemake is in the library: `monitor.refusals`, `monitor.queue` and `monitor.ends`.
"""

import asyncio
import math
import os
import re
import shlex
import threading
import time
from contextlib import suppress

from weightscape.monitor import ends, queue, refusals


def be_careful(executor):
    """Has the executor submit each job once, and wait for none in vain.

    It is there before the rules are read, so that its class can only be changed; and as its thread
    may look at any time, it has all that this class needs before.
    """
    careful = make_careful(type(executor))
    careful.begin(executor, queue.Ledger(), [get_queue_name(executor)], set(), 0)
    executor.__class__ = careful


def begin_submissions(executor, ledger, names, shard_rules, seconds):
    """Before the first job.

    `names` are those of all jobs that it may have in the queue, and the shortest job takes
    `seconds`: the first look comes no later, if the profile has a later one.
    """
    executor.begin(ledger, names, shard_rules, seconds)


def make_careful(plugin):
    """The plugin's executor, for days on which the cluster is not well.

    What it does in the plugin's place: a submission that failed is understood, and waits or ends
    the study; jobs are looked at by one light question, and one that has left the queue is judged
    by its output.
    """
    for part in (
        "_report_job_submission_threadsafe",
        "_report_job_error_threadsafe",
        "_job_submission_executor",
        "slurm_logdir",
        "next_seconds_between_status_checks",
    ):
        get_private(part, get_private("scheduler._executor"), SLURM_PLUGIN)
    for part in ("keepgoing", "_lock", "_handle_error", "_open_jobs"):
        get_private(part, get_private("scheduler"))

    class CarefulExecutor(plugin):
        __module__ = plugin.__module__  # rules have none
        SHORTEST_PACE, LONGEST_PACE = 5, 60  # seconds between looks
        SECONDS_TO_SETTLE = 2  # until what a busy controller was sent is in its queue
        SECONDS_TO_REPEAT = 3600  # until the same sentence is told again

        def begin(self, ledger, names, shard_rules, seconds):
            usual = self.workflow.executor_settings.init_seconds_before_status_checks
            self._first_look = min(usual, max(seconds, CarefulExecutor.SHORTEST_PACE))
            self.ledger, self._names, self._shard_rules = ledger, names, shard_rules
            self._changed = threading.Condition()
            self._is_stopping = False
            self._told = {}  # what was told -> when
            self._trying = threading.local()
            self._done = set()  # comments
            self._ends = {}  # job -> how its last attempt ended

        # submissions, in the plugin's threads

        def run_job(self, job):
            comment = get_comment(job)
            try:
                with self.ledger.submitting(comment):
                    self._submit(job, comment)
            except Exception as error:  # the pool would keep it to itself
                self.workflow.scheduler.executor_error_callback(error)
            finally:
                self._trying.comment = None

        def _submit(self, job, comment):
            self._trying.comment, self._trying.before = comment, get_stamps(job)
            if left := self.ledger.take_left(comment):
                return self._adopt(job, left)
            self._tell_of_memory(job)
            tries, seconds = 0, 0.0
            while not self._is_stopping:
                if (refusal := self._try(job)) is None:
                    return None
                tries += 1
                if not refusal.passes and (refusal.is_known or tries == refusals.TRIES):
                    self._refuse(job, refusal)
                    break
                self._tell(refusals.tell_wait(refusal), refusal.words)
                seconds = refusals.next_wait(seconds)
                if self._pause(seconds):
                    seconds = 0.0
                if not refusal.is_certain and (found := self._find(comment)):
                    return self._adopt(job, found)
            self._drop(job)
            return None

        def _drop(self, job):
            """Has it leave the scheduler without a word, a retry, or the removal of old output."""
            scheduler = self.workflow.scheduler
            job.attempt = job.restart_times + 1
            with scheduler._lock:
                scheduler._handle_error(job, postprocess_job=False)
            scheduler._open_jobs.release()

        def _try(self, job):
            """Why Slurm did not take the job; None if it did."""
            self._trying.failed = ""
            super().run_job(job)
            message, self._trying.failed = self._trying.failed, None
            return refusals.read_refusal(message) if message else None

        def _report_job_error_threadsafe(self, job_info, msg):
            if getattr(self._trying, "failed", None) is None:  # an array
                super()._report_job_error_threadsafe(job_info, msg)
            else:
                self._trying.failed = msg

        def _report_job_submission_threadsafe(self, job_info):
            if (comment := getattr(self._trying, "comment", None)) is not None:
                self.ledger.note(job_info.external_jobid, comment)
                job_info.aux["before"] = self._trying.before
            super()._report_job_submission_threadsafe(job_info)

        def _find(self, comment):
            """What a submission has made that seemed to fail: Slurm's queue must answer first."""
            looks = 0
            while not self._is_stopping and looks < 2:
                jobs = queue.find_queue([self.run_uuid])
                if jobs is not None:
                    looks += 1
                    if found := self.ledger.find(comment, jobs):
                        self._tell(
                            "Slurm had taken a job whose submission seemed to fail: it is used."
                        )
                        return found
                self._pause(self.SECONDS_TO_SETTLE)
            return None

        def _adopt(self, job, queued):
            folder = f"group_{job.name}" if job.is_group() else f"rule_{job.name}"
            wildcards = get_plugin("utils.get_job_wildcards")(job)
            log = self.slurm_logdir / folder / wildcards / f"{queued.number}.log"
            info = get_plugin("SubmittedJobInfo")(job, queued.number, {"slurm_logfile": log})
            # for Snakemake's log, where the plugin would say that it has been submitted
            self.logger.info(f"Job {job.jobid} is done by SLURM job {queued.number} (log: {log}).")
            self._report_job_submission_threadsafe(info)

        def _refuse(self, job, refusal):
            """Ends the study as if it had failed: what runs may end, and no more is submitted."""
            with self._changed:
                is_first, self._is_stopping = not self._is_stopping, True
                self._changed.notify_all()
            if is_first:
                self.logger.error(f"{refusals.tell_end(job.name, refusal)}.")
            self.workflow.scheduler.keepgoing = False

        def _pause(self, seconds):
            """Whether a job has ended, or all is to stop, before so many seconds were over."""
            with self._changed:
                return self._is_stopping or self._changed.wait(seconds)

        def _tell(self, sentence, what=None):
            now, what = time.monotonic(), what or sentence
            if now - self._told.get(what, -math.inf) > self.SECONDS_TO_REPEAT:
                self._told[what] = now
                self.logger.warning(sentence)

        def _tell_of_memory(self, job):
            if (end := self._ends.pop(job, None)) and end.is_out_of_memory:
                self._tell(
                    f"{get_comment(job)}: {end.tell()}, asks {job.resources.get('mem_mb')} MB now."
                )

        # no job is looked up in the accounting database: Slurm itself says what it does not take

        def get_account_arg(self, job):
            accounts = re.split(r"[,\s]+", str(job.resources.get("slurm_account") or ""))
            yield f" -A {shlex.quote(accounts[0])}" if accounts[0] else ""

        def get_job_exec_prefix(self, job):
            if job.is_group() or job.rule.name not in self._shard_rules:
                return super().get_job_exec_prefix(job)
            return f"export {SHARD_BEFORE}={get_stamp(job.output[0])}"

        # looks, in the thread that waits for jobs

        async def check_active_jobs(self, active_jobs):
            first = self._first_look
            jobs = await asyncio.to_thread(queue.find_queue, self._names) if active_jobs else []
            states = {job.number: job.state for job in jobs or []}
            failed, ended = {}, False
            for info in active_jobs:
                number = info.external_jobid
                state = states.get(number, ends.MISSING)
                is_done = None if jobs is None else await self._judge(info, state)
                if is_done is None:
                    yield info
                    continue
                ended = True
                if is_done:
                    self._succeed(info)
                else:
                    failed[number] = info, state
            if failed:
                await asyncio.to_thread(self._fail, failed)
            if jobs:
                await asyncio.to_thread(self._tend, jobs)
            if ended:
                with self._changed:
                    self._changed.notify_all()
            pace = self.next_seconds_between_status_checks + 10
            self.next_seconds_between_status_checks = (
                first if ended or not active_jobs else min(pace, max(first, self.LONGEST_PACE))
            )

        async def _judge(self, info, state):
            """Whether a job has done its work; None as long as it may."""
            if state == "COMPLETED":
                return True
            if state not in queue.ENDED and state != ends.MISSING:
                self.ledger.forget(info.external_jobid)
                return None
            # a shard appears when it is complete, whatever becomes of its job afterwards
            is_shard = not info.job.is_group() and info.job.rule.name in self._shard_rules
            if (is_shard or state == ends.MISSING) and await is_made(
                info.job, info.aux.get("before")
            ):
                return True
            patience = {ends.MISSING: self.workflow.execution_settings.latency_wait}
            patience |= dict.fromkeys(queue.MAY_RETURN, queue.SECONDS_TO_RETURN)
            seconds = self.ledger.seconds(info.external_jobid, state)
            return None if seconds < patience.get(state, 0) else False

        def _succeed(self, info):
            self._done.add(get_comment(info.job))
            self.report_job_success(info)
            if not self.workflow.executor_settings.keep_successful_logs:
                with suppress(OSError):
                    info.aux["slurm_logfile"].unlink(missing_ok=True)

        def _fail(self, failed):
            found = ends.find_ends({number: state for number, (_, state) in failed.items()})
            for number, (info, _) in failed.items():
                log = str(info.aux["slurm_logfile"])
                self._ends[info.job] = end = ends.find_end(found[number], log)
                for own in info.job.log[:1]:
                    ends.note_end(own, end)
                self.report_job_error(
                    info, msg=f"Slurm job {number} failed ({end.tell()}). ", aux_logs=[log]
                )

        def _tend(self, jobs):
            """Tells of jobs that wait in vain, and cancels those that nobody waits for."""
            for reason, sentence in queue.tell_stuck(jobs).items():
                self._tell(sentence, reason)
            own = [job for job in jobs if job.name == self.run_uuid]
            if ghosts := self.ledger.find_ghosts(own, self._done):
                queue.cancel_quickly(job.number for job in ghosts)
                self._tell("Slurm had taken a job twice: one of them is cancelled.")

        # the end

        def shutdown(self):
            # where a study ends early, what was to be taken over and was not
            if left := self.ledger.left():
                queue.cancel_quickly(left)
            super().shutdown()

        def cancel(self):
            with self._changed:
                self._is_stopping = True
                self._changed.notify_all()
            # what was not yet submitted never is
            self._job_submission_executor.shutdown(wait=True, cancel_futures=True)
            super().cancel()

        def cancel_jobs(self, active_jobs):
            # by name: those too that a look or a submission has in hand
            queue.cancel_quickly([f"--name={','.join(self._names)}", f"--user={os.getuid()}"])
            super().cancel_jobs(active_jobs)

    return CarefulExecutor


def get_stamps(job):
    return {str(path): get_stamp(path) for path in getattr(job, "output", ())}


async def is_made(job, before):
    """Whether all output of a job is there, and none of it is from before its submission."""
    if not before:
        return False
    now = get_stamps(job)
    is_new = all(now[path] != stamp or not stamp for path, stamp in before.items())
    return is_new and all([await path.exists() for path in job.output])
