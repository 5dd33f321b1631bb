"""All fault cases by subject, all seeded faults, what ordinary tests cover already, and what waits for its feature."""

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
    functions,
    fuzz,
    history,
    power_cut,
    security,
    soak,
    streams,
    supervision,
    unsynced,
    words,
    writes,
)
from tests.faults.case import CASES, Bench, Figures, Skipped
from tests.faults.seed import Seed

__all__ = ["CASES", "COVERED", "SEEDS", "WAITING", "run_case"]


class Covered(NamedTuple):
    """A case that is an ordinary test, or several: each test is a try."""

    number: str
    subject: str
    name: str
    tests: tuple[str, ...]


class Waiting(NamedTuple):
    """A case whose feature is not there yet."""

    number: str
    name: str
    feature: str


COVERED: list[Covered] = [
    Covered(
        "57c",
        "store",
        "what is stored comes back as it was; noise and hostile JSON are refused",
        (
            "tests/store/test_records.py",
            "tests/store/test_journal.py",
            "tests/screens/test_screen.py::test_safe_text_is_printable_and_plain_text_stays",
        ),
    ),
    Covered(
        "49",
        "supervision",
        "worker with ignored and blocked signals: the job has default ones, and an empty mask",
        ("tests/process/test_supervision.py::test_a_job_starts_in_the_state_that_a_shell_would_give_it",),
    ),
    Covered(
        "47",
        "words",
        "stdout closed, full, or a broken pipe at the acknowledgement: exit 0, the job is there once",
        ("tests/commands/test_bad_input.py::test_the_job_is_added_once_even_if_its_id_can_not_be_printed",),
    ),
    Covered(
        "S1",
        "security",
        "folders 0700, files 0600, whatever the umask",
        ("tests/commands/test_bad_input.py::test_the_store_is_private_whatever_the_umask",),
    ),
    Covered(
        "S7",
        "security",
        "one argument is a shell line, several are an exact argv; shown as one would type it",
        (
            "tests/process/test_supervision.py::test_arguments_arrive_byte_for_byte",
            "tests/process/test_supervision.py::test_a_single_argument_goes_through_the_shell",
            "tests/screens/test_screen.py::test_commands_are_shown_as_a_user_would_type_them",
        ),
    ),
    Covered(
        "S10",
        "security",
        "output on a terminal: lines, tabs and colours only",
        ("tests/screens/test_screen.py::test_output_for_a_terminal_keeps_lines_tabs_and_colours_only",),
    ),
    Covered(
        "S12",
        "security",
        "the journal's reader takes any bytes",
        (
            "tests/store/test_journal.py::test_no_bytes_crash_the_reader",
            "tests/store/test_journal.py::test_hostile_json_with_a_right_checksum_is_a_bad_line",
        ),
    ),
    Covered(
        "S13",
        "security",
        "records that are no jobs are refused",
        (
            "tests/store/test_records.py::test_a_record_that_is_no_job_is_refused",
            "tests/store/test_records.py::test_a_record_with_anything_in_any_place_is_read_or_refused",
        ),
    ),
    Covered(
        "23b",
        "supervision",
        "a worker that is asked once takes nothing new, asked twice it hands back at once; --drain tells that work is left",
        (
            "tests/process/test_death.py::test_one_stop_lets_running_jobs_finish_and_takes_no_new_ones",
            "tests/process/test_death.py::test_a_second_stop_hands_running_jobs_back_without_using_a_retry",
            "tests/commands/test_commands.py::test_the_exit_code_of_drain_shows_failed_or_remaining_work",
        ),
    ),
    Covered(
        "S14",
        "security",
        "a store on a network filesystem: told; made on another machine: no worker, but it is read",
        ("tests/commands/test_bad_input.py::test_a_store_on_a_network_filesystem_is_for_the_machine_that_made_it",),
    ),
    Covered(
        "68",
        "supervision",
        "seven shapes of tree ended in four ways: every process hears TERM once and has the whole grace",
        (
            "tests/process/test_grace.py::test_every_process_of_a_job_gets_sigterm_once_and_the_whole_grace",
            "tests/process/test_grace.py::test_interrupting_run_gives_its_job_the_whole_grace",
            "tests/process/test_grace.py::test_a_filter_that_outlives_its_job_can_finish_writing",
            "tests/process/test_grace.py::test_a_shell_that_is_ended_does_not_go_on_with_its_next_command",
        ),
    ),
    Covered(
        "63",
        "supervision",
        "TERM to worker, supervisors and jobs at once; hangups; ^C: no retry used, nothing destroyed",
        (
            "tests/process/test_grace.py::test_a_sigterm_to_every_process_costs_no_retry_and_arrives_once",
            "tests/process/test_grace.py::test_jobs_that_run_when_a_worker_is_interrupted_go_on_and_are_named",
            "tests/process/test_grace.py::test_sighup_never_counts_as_a_second_stop",
        ),
    ),
    Covered(
        "64",
        "supervision",
        "a copied, moved or new store, processes that hide: killed is what is ours, all of it and nothing else",
        (
            "tests/process/test_ownership.py::test_the_jobs_of_a_store_survive_every_command_on_a_copy",
            "tests/process/test_ownership.py::test_a_new_store_at_the_same_path_kills_no_process_of_the_old_one",
            "tests/process/test_ownership.py::test_a_process_that_hides_is_found_after_its_worker_and_supervisor_died",
            "tests/process/test_ownership.py::test_a_moved_store_still_finds_the_processes_of_its_dead_worker",
        ),
    ),
    Covered(
        "65",
        "supervision",
        "a backup restored under a worker, three ways: nothing is started twice",
        ("tests/process/test_ownership.py::test_a_backup_restored_under_a_worker_starts_nothing_twice",),
    ),
    Covered(
        "66",
        "supervision",
        "a cleaner takes the files of worker and supervisor; a supervisor is stopped: jobs, limits and cancels go on",
        (
            "tests/process/test_ownership.py::test_a_cleaner_of_old_files_does_not_make_a_live_job_run_twice",
            "tests/process/test_ownership.py::test_a_cancel_works_after_a_cleaner_removed_the_fifo_of_the_supervisor",
            "tests/process/test_ownership.py::test_a_stopped_supervisor_is_continued_and_keeps_the_time_limit",
        ),
    ),
    Covered(
        "67",
        "supervision",
        "what can't die is told and holds nobody up; a worker as PID 1 reaps strangers and kills none",
        (
            "tests/process/test_ownership.py::test_a_process_that_does_not_die_is_reported_and_blocks_no_other_job",
            "tests/process/test_ownership.py::test_a_worker_that_is_pid_1_reaps_dead_strangers_and_spares_live_ones",
        ),
    ),
    Covered(
        "7",
        "disk and limits",
        "disk full while adding",
        ("tests/commands/test_bad_input.py::test_every_add_on_a_full_disk_is_saved_or_refused",),
    ),
]

WAITING = [
    Waiting(
        "1b",
        "SIGKILL at every write point of an add with dependencies, of a fired schedule, of a migration",
        "dependencies, schedules, a second format",
    ),
    Waiting("33", "three days down with an hourly schedule", "schedules"),
    Waiting("50", "dependencies: cycle, self, missing, failed, 1,000 deep, 1,000 wide", "dependencies"),
    Waiting("S7b", "one argument as an argv, several as a shell line", "`--exec`, `--shell`"),
    Waiting("S8b", "which part of the environment is captured, and shown", "`--env-capture`, `--reveal`"),
    Waiting("S17b", "what a settings file in the working directory may not set", "settings files"),
    Waiting("47b", "a repeated `--key` adds none", "idempotency keys"),
]

SEEDS: list[Seed] = [
    *supervision.SEEDS,
    *security.SEEDS,
    *words.SEEDS,
    *crash_states.SEEDS,
    *damage.SEEDS,
    *fuzz.SEEDS,
    *contention.SEEDS,
    *history.SEEDS,
    *soak.SEEDS,
    *streams.SEEDS,
    *disk.SEEDS,
    *functions.SEEDS,
    *power_cut.SEEDS,
    *writes.SEEDS,
    *unsynced.SEEDS,
    *clocks.SEEDS,
]


def run_case(number: int, *, full: bool) -> Figures | str:
    """The figures of one of CASES, or why it was skipped."""
    case = CASES[number]
    with tempfile.TemporaryDirectory(prefix="faults-", ignore_cleanup_errors=True) as folder:
        bench = Bench(Path(folder), full=full)
        try:
            try:
                return case.run(bench)
            finally:
                bench.close()
        except Skipped as reason:
            return str(reason)
        except Exception as e:  # whatever broke the case, or its end, was not meant to
            return Figures(1, [f"{type(e).__name__}: {' '.join(str(e).split())[:300]}"])
