"""The process that stands beside one job: starts it, watches it, ends its whole tree, and writes down how it went.

Run as `python -I -S __main__.py FOLDER K BOUND`, one for each slot of a worker, for the worker's life. It knows
processes and no store, and loads little beside the standard library. In FOLDER (the worker's), K being the slot:

    K.lock   held for life: as long as it is held, the job that was started last may be running
    K.ctl    FIFO of orders: "cancel ID N", "stop ID N GRACE" (seconds); "return": what waits goes back; "stopping": the
             worker was asked to stop; "read ID N END": up to that byte, the log need not be kept for its follower
    K.ends   what happened, appended: start, pid, end, not_started; emptied when the worker has recorded it all

Standard input brings jobs, a JSON object a line: one, or as many short ones as take some milliseconds, so that nobody
has to wait between them. They run one after the other. The first of such a batch says so, and says thereby that the
ends of all before it are recorded. Standard output says hello once and takes the end of each job. When the worker dies,
input hangs up: the job goes on, its end goes to K.ends, those behind it are noted as not started, then this process
exits; BOUND "1" (`jobq run`) ends the job instead. Its own session keeps it out of the terminal's reach. On Linux it is
a child subreaper (prctl(2)), so that whatever the job leaves behind, in whatever session, becomes its child.

Every line of K.ends, and every message, is JSON that ends in the CRC-32 of what is before it, as in the journal.

    supervisor   the loop, and one job from its start to its end
    channel      jobs and orders in, ends out
    ends         K.ends
    spawn        starting a job's main process
    running      one job while it runs: its limits, and how it is being ended
    mark         what tells the processes of one attempt from all others
    logs         its output: the cap, and empty files passed on
    verdict      what a called function says beside its exit status
    tree         processes: what is left of a tree, and how it is ended
"""

PROTOCOL = 4
SCRIPT = f"{__path__[0]}/__main__.py"
