"""`python -m lockstep.app.cli`: the same program as `lockstep`."""

import sys

from lockstep.app.cli.main import main

sys.exit(main())
