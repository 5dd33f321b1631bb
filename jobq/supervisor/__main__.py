"""The script of a supervisor. It is run by path, as an isolated interpreter has no other way to find it."""

import os
import sys

if __name__ == "__main__":
    # Behind the standard library, so that no module beside jobq can replace one of it.
    sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    from jobq.supervisor.supervisor import main

    main()
