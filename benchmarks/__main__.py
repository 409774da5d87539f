"""Run all benchmarks, or those named: ``python -m benchmarks [name …]``. Figures on standard output, progress on standard error."""

import asyncio
import importlib
import sys
from contextlib import redirect_stdout

NAMES = ("tenant", "steps", "sign", "policy", "wallets", "stream", "follow", "views", "transactions", "swap", "idle")


def main() -> int:
    names = sys.argv[1:] or list(NAMES)
    for name in names:
        if name not in NAMES:
            print(f"no benchmark {name!r}; there are: {', '.join(NAMES)}", file=sys.stderr)
            return 2
    for name in names:
        print(f"{name}: running", file=sys.stderr, flush=True)
        module = importlib.import_module(f"benchmarks.{name}")
        with redirect_stdout(sys.stderr):  # the parties of a swap tell what they do
            figures = asyncio.run(module.run())
        for figure in figures:
            print(figure.line(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
