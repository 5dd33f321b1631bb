"""Where a supervisor begins; by path, as its isolated interpreter knows no other way to find it."""

import os
import sys

if __name__ == "__main__":
    # Behind the standard library, so that nothing that lies beside jobq can take its place.
    sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    from jobq.supervisor.supervisor import main

    main()
