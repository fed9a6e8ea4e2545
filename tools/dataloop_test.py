"""The Dataloop test tool's command: items in, a model's annotations on them.

`python tools/dataloop_test.py --help` lists the flags; docs/dataloop.md tells the rest.
"""

import os
import sys
from pathlib import Path
from typing import NoReturn

sys.path.insert(0, str(Path(__file__).parents[1]))

from tools.dataloop import home
from tools.dataloop.arguments import parse
from tools.dataloop.errors import ToolError


def main() -> int:
    """Run the command line; its exit code."""
    try:
        arguments = parse(sys.argv[1:])
        with home.private():
            # not earlier: it takes seconds, and dtlpy reads where its home is
            from tools.dataloop.tool import annotate  # noqa: PLC0415

            return annotate(arguments)
    except ToolError as error:
        print(f"dataloop_test.py: {error}", file=sys.stderr)
        return error.exit_code
    except ModuleNotFoundError as error:
        print(
            f"dataloop_test.py: the package {error.name} is missing;"
            " pip install -r requirements-tools.txt",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print("dataloop_test.py: stopped at once; run the same command again", file=sys.stderr)
        _at_once()
    except BrokenPipeError:  # nobody reads on
        _at_once()
    except Exception as error:  # noqa: BLE001 - the boundary: a person gets a sentence
        failure = f"{type(error).__name__}: {error}"
        print(f"dataloop_test.py: the tool itself failed: {failure}", file=sys.stderr)
        return 1


def _at_once() -> NoReturn:
    """End without waiting for the threads."""
    sys.stderr.flush()
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
