"""The catalogue: all fault cases, those that are ordinary tests, those that wait for a feature, and all seeds."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import NamedTuple

from tests.faults import (
    clocks,
    contention,
    crash_states,
    damage,
    disk,
    firing,
    functions,
    fuzz,
    history,
    history_orders,
    hooks,
    identities,
    limits,
    options,
    power_cut,
    related_writes,
    security,
    soak,
    streams,
    supervision,
    unattended,
    unsynced,
    warm,
    words,
    writes,
)
from tests.faults.case import CASES, Bench, Case, Figures, Skipped
from tests.faults.seed import Seed

__all__ = ["CASES", "COVERED", "SEEDS", "WAITING", "Covered", "Waiting", "name_of", "run_case"]


class Covered(NamedTuple):
    """A case that consists of ordinary tests: each test counts as a try."""

    name: str
    number: str
    subject: str
    sentence: str
    tests: tuple[str, ...]


class Waiting(NamedTuple):
    """A case for a feature that does not exist yet."""

    name: str
    number: str
    sentence: str
    feature: str


COVERED: list[Covered] = [
    Covered(
        "dependency-order",
        "50",
        "order",
        "dependencies: circle, self, missing, failed, 1,000 deep, 1,000 wide, requeued, compacted; random graphs",
        ("tests/store/test_dependencies.py", "tests/store/test_reviewed.py"),
    ),
    Covered(
        "work-once",
        "47b",
        "order",
        "a repeated key or command adds no job, also after compaction",
        ("tests/store/test_once.py",),
    ),
    Covered(
        "start-times",
        "71",
        "clocks",
        "jobs that start at a time, expire, or say nothing, over clock jumps and reboots",
        ("tests/rules/test_time.py", "tests/process/test_times.py"),
    ),
    Covered(
        "schedule-downtime",
        "33",
        "clocks",
        "schedules: three days down, clocks set forward and back, two workers: no time fires twice, none is forgotten",
        ("tests/rules/test_schedule.py", "tests/worker/test_schedules.py"),
    ),
    Covered(
        "shared-resources",
        "72",
        "order",
        "locks and resources: overlaps, leaks after kills, indices given twice, jobs overtaken for ever",
        ("tests/rules/test_sharing.py", "tests/process/test_sharing.py"),
    ),
    Covered(
        "exec-shell-options",
        "S7b",
        "security",
        "one argument as an argv, several as a shell line; any item of a template arrives unchanged",
        ("tests/options/test_templates.py",),
    ),
    Covered(
        "records-round-trip",
        "57c",
        "store",
        "stored records are read back unchanged; noise and hostile JSON are refused",
        (
            "tests/store/test_records.py",
            "tests/store/test_journal.py",
            "tests/screens/test_screen.py::test_safe_text_is_printable_and_plain_text_stays",
        ),
    ),
    Covered(
        "signals-inherited",
        "49",
        "supervision",
        "worker with ignored and blocked signals: the job gets the default actions and an empty mask",
        ("tests/process/test_supervision.py::test_a_job_starts_in_the_state_that_a_shell_would_give_it",),
    ),
    Covered(
        "acknowledgement-not-printed",
        "47",
        "words",
        "stdout closed, full, or a broken pipe at the acknowledgement: exit 0, the job exists once",
        ("tests/commands/test_bad_input.py::test_the_job_is_added_once_even_if_its_id_can_not_be_printed",),
    ),
    Covered(
        "store-modes",
        "S1",
        "security",
        "folders have mode 0700, files 0600, with any umask",
        ("tests/commands/test_bad_input.py::test_the_store_is_private_whatever_the_umask",),
    ),
    Covered(
        "shell-line-or-argv",
        "S7",
        "security",
        "one argument is a shell line, several are an exact argv; shown as one would type them",
        (
            "tests/process/test_supervision.py::test_arguments_arrive_byte_for_byte",
            "tests/process/test_supervision.py::test_a_single_argument_goes_through_the_shell",
            "tests/screens/test_screen.py::test_commands_are_shown_as_a_user_would_type_them",
        ),
    ),
    Covered(
        "terminal-output-filtered",
        "S10",
        "security",
        "output on a terminal: lines, tabs and colours only",
        ("tests/screens/test_screen.py::test_output_for_a_terminal_keeps_lines_tabs_and_colours_only",),
    ),
    Covered(
        "journal-any-bytes",
        "S12",
        "security",
        "the reader of the journal does not crash on any bytes",
        (
            "tests/store/test_journal.py::test_no_bytes_crash_the_reader",
            "tests/store/test_journal.py::test_hostile_json_with_a_right_checksum_is_a_bad_line",
        ),
    ),
    Covered(
        "records-invalid",
        "S13",
        "security",
        "records that are not jobs are refused",
        (
            "tests/store/test_records.py::test_a_record_that_is_no_job_is_refused",
            "tests/store/test_records.py::test_a_record_with_anything_in_any_place_is_read_or_refused",
        ),
    ),
    Covered(
        "worker-stopped-twice",
        "23b",
        "supervision",
        "the first stop: a worker takes no new jobs; the second: it hands back at once; --drain reports that jobs are left",
        (
            "tests/process/test_death.py::test_one_stop_lets_running_jobs_finish_and_takes_no_new_ones",
            "tests/process/test_death.py::test_a_second_stop_hands_running_jobs_back_without_using_a_retry",
            "tests/commands/test_commands.py::test_the_exit_code_of_drain_shows_failed_or_remaining_work",
        ),
    ),
    Covered(
        "network-filesystem",
        "S14",
        "security",
        "a store on a network filesystem: reported; a store of another machine: no worker starts, reading works",
        ("tests/commands/test_bad_input.py::test_a_store_on_a_network_filesystem_is_for_the_machine_that_made_it",),
    ),
    Covered(
        "grace-cut-short",
        "68",
        "supervision",
        "seven shapes of tree ended in four ways: every process gets TERM once and has the whole grace",
        (
            "tests/process/test_grace.py::test_every_process_of_a_job_gets_sigterm_once_and_the_whole_grace",
            "tests/process/test_grace.py::test_interrupting_run_gives_its_job_the_whole_grace",
            "tests/process/test_grace.py::test_a_filter_that_outlives_its_job_can_finish_writing",
            "tests/process/test_grace.py::test_a_shell_that_is_ended_does_not_go_on_with_its_next_command",
        ),
    ),
    Covered(
        "term-to-everything",
        "63",
        "supervision",
        "TERM to worker, supervisors and jobs at once; hangups; ^C: no retry is used, no job is lost",
        (
            "tests/process/test_grace.py::test_a_sigterm_to_every_process_costs_no_retry_and_arrives_once",
            "tests/process/test_grace.py::test_jobs_that_run_when_a_worker_is_interrupted_go_on_and_are_named",
            "tests/process/test_grace.py::test_sighup_never_counts_as_a_second_stop",
        ),
    ),
    Covered(
        "store-copied-or-moved",
        "64",
        "supervision",
        "a copied, moved or new store, processes that hide: all processes of the store are killed, and no others",
        (
            "tests/process/test_ownership.py::test_the_jobs_of_a_store_survive_every_command_on_a_copy",
            "tests/process/test_ownership.py::test_a_copy_starts_no_job_again_that_ended_in_the_original",
            "tests/process/test_ownership.py::test_a_new_store_at_the_same_path_kills_no_process_of_the_old_one",
            "tests/process/test_ownership.py::test_a_process_that_hides_is_found_after_its_worker_and_supervisor_died",
            "tests/process/test_ownership.py::test_a_moved_store_still_finds_the_processes_of_its_dead_worker",
        ),
    ),
    Covered(
        "backup-restored",
        "65",
        "supervision",
        "a backup restored under a worker, in three ways: no job is started twice",
        (
            "tests/process/test_ownership.py::test_a_backup_restored_under_a_worker_starts_nothing_twice",
            "tests/process/test_ownership.py::test_a_worker_records_an_end_again_after_a_backup_was_restored",
        ),
    ),
    Covered(
        "cleaner-removes-files",
        "66",
        "supervision",
        "a cleaner removes the files of worker and supervisor; a supervisor is stopped: jobs, limits and cancels go on",
        (
            "tests/process/test_ownership.py::test_a_cleaner_of_old_files_does_not_make_a_live_job_run_twice",
            "tests/process/test_ownership.py::test_a_cancel_works_after_a_cleaner_removed_the_fifo_of_the_supervisor",
            "tests/process/test_ownership.py::test_a_stopped_supervisor_is_continued_and_keeps_the_time_limit",
        ),
    ),
    Covered(
        "process-unkillable",
        "67",
        "supervision",
        "a job that can't die is reported and blocks no other; a worker as PID 1 reaps foreign processes and kills none",
        (
            "tests/process/test_ownership.py::test_a_process_that_does_not_die_is_reported_and_blocks_no_other_job",
            "tests/process/test_ownership.py::test_a_worker_that_is_pid_1_reaps_dead_strangers_and_spares_live_ones",
        ),
    ),
    Covered(
        "settings-file-limits",
        "S17b",
        "security",
        "settings that a file in the working directory may not set; stores and files that came with a checkout",
        (
            "tests/commands/test_config.py::test_a_file_of_a_project_may_not_set_what_is_the_persons",
            "tests/commands/test_config.py::test_a_store_that_came_with_a_checkout_is_not_used",
            "tests/commands/test_config.py::test_a_file_that_others_can_write_is_not_read",
        ),
    ),
    Covered(
        "pause-of-running-jobs",
        "73",
        "processes",
        "a pause that stops what runs: all processes, time limits, cancels, dead workers",
        ("tests/process/test_suspending.py",),
    ),
    Covered(
        "disk-full-add",
        "7",
        "disk and limits",
        "disk full while adding",
        ("tests/commands/test_bad_input.py::test_every_add_on_a_full_disk_is_saved_or_refused",),
    ),
]

WAITING = [
    Waiting(
        "environment-capture-options",
        "S8b",
        "the part of the environment that is captured, and shown",
        "`--env-capture`, `--reveal`",
    ),
]

SEEDS: list[Seed] = [
    *supervision.SEEDS,
    *unattended.SEEDS,
    *security.SEEDS,
    *warm.SEEDS,
    *words.SEEDS,
    *crash_states.SEEDS,
    *damage.SEEDS,
    *fuzz.SEEDS,
    *contention.SEEDS,
    *history.SEEDS,
    *history_orders.SEEDS,
    *soak.SEEDS,
    *streams.SEEDS,
    *disk.SEEDS,
    *functions.SEEDS,
    *power_cut.SEEDS,
    *writes.SEEDS,
    *related_writes.SEEDS,
    *firing.SEEDS,
    *hooks.SEEDS,
    *identities.SEEDS,
    *limits.SEEDS,
    *unsynced.SEEDS,
    *clocks.SEEDS,
    *options.SEEDS,
]


def name_of(word: str) -> str | None:
    """Return the name of the case with this name or number; None if there is none."""
    cases: list[Case | Covered | Waiting] = [*CASES, *COVERED, *WAITING]
    return next((case.name for case in cases if word in {case.name, case.number}), None)


def run_case(index: int, *, full: bool) -> Figures | str:
    """Run one of CASES; return its figures, or why it was skipped."""
    case = CASES[index]
    with tempfile.TemporaryDirectory(prefix="faults-", ignore_cleanup_errors=True) as folder:
        bench = Bench(Path(folder), full=full)
        try:
            try:
                return case.run(bench)
            finally:
                bench.close()
        except Skipped as reason:
            return str(reason)
        except Exception as e:  # any other exception is a failure of the case
            return Figures(1, [f"{type(e).__name__}: {' '.join(str(e).split())[:300]}"])
