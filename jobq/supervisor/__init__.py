"""A supervisor: the process that starts one job, watches it, ends its whole process tree, and records its ending.

Run as `python -I -S __main__.py FOLDER K BOUND`, one for each slot of a worker, for the worker's life. It knows
processes and no store; it loads only the standard library, `jobq.system` and `jobq.sealed`. Its files are in FOLDER,
which is the worker's. K is the number of the slot:

    K.lock   held for life: as long as it is held, the job that was started last may be running
    K.ctl    FIFO of orders: "cancel ID N"; "stop ID N GRACE" (seconds); "return": hand back the jobs that wait;
             "stopping": the worker was asked to stop; "read ID N END": the follower has read the log up to byte END
    K.ends   record of events, appended: start, batch, pid, end, not_started; a file past 64 KiB is emptied when the
             worker has recorded all of it
    K.calls  what the warm process has begun and finished of the calls that it was given together
    K.out    what the call that it makes has printed; moved to the log of that call

Standard input takes jobs, one JSON object a line: one job, or a batch of short jobs that take some milliseconds
together, so that no time is lost between them. They run one after the other. The first job of a batch has `first` set:
that also confirms that all earlier endings are recorded. Standard output takes one hello and the ending of each job.
When the worker dies, input hangs up. The job goes on, its ending is written to K.ends, the jobs behind it are recorded
as not started, then this process exits; with BOUND "1" (`jobq run`) it ends the job instead. Its own session keeps it
out of reach of the terminal. On Linux it is a child subreaper (prctl(2)): every process that the job leaves behind, in
any session, becomes its child.

Every line of K.ends and of standard output is JSON that ends in the CRC-32 of the bytes before it, as in the journal.

    supervisor   the loop, and one job from its start to its end
    messages     what worker and supervisor say to each other
    channel      jobs and orders in, endings out
    endings      K.ends
    spawn        the start of a job's main process
    running      one job while it runs: its limits, and how it is ended
    mark         a number that only the processes of one attempt carry
    logs         output: the cap, and empty files passed on
    host         the warm process of a slot: it makes one call after the other
    batch        calls that it is given together
    calls        K.calls
    verdict      the result file of a function that failed: is another try of use?
    tree         processes: what is left of a tree, and how it is ended
    filters      processes that write the rest of the output
"""

PROTOCOL = 6
SCRIPT = f"{__path__[0]}/__main__.py"
