"""The command line. Data goes to standard output, everything else to standard error.

Exit codes: 0 done · 1 our bug · 2 usage or settings · 3 refused · 4 passing fault, try again · 5 operator needed ·
130 Ctrl-C. Each command imports what it needs when it runs, so that `--help` answers at once.
"""

from lockstep.app.cli.main import main

__all__ = ["main"]
