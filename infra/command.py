"""What all commands have in common: one clear line and status 2 for whatever is wrong with the input.

It stands on the standard library alone, and so do the commands of every package on it.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn


class Command(argparse.ArgumentParser):
    """A command line.

    A fault of the arguments, of the data (``ValueError`` and what derives from it) or of a file ends in one line on
    standard error and status 2; Ctrl-C in one line and status 130.
    """

    def error(self, message: str) -> NoReturn:
        """Refuse the arguments, without the usage: ``--help`` has it."""
        self.exit(2, f"{self.prog}: {message}\n")

    @contextmanager
    def one_line_errors(self) -> Iterator[None]:
        """Turn faults of the work inside into one line."""
        try:
            yield
        except BrokenPipeError:  # whoever read our output has gone, as head does
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            self.exit(1)
        except OSError as error:
            self.error(f"{error.filename}: {error.strerror}" if error.filename else f"{error}")
        except ValueError as error:
            self.error(" ".join(str(error).split()))
        except KeyboardInterrupt:
            self.exit(130, f"\n{self.prog}: interrupted; no file is half written\n")


def whole_number(least: int, most: int) -> Callable[[str], int]:
    """Make a type of argument: whole numbers within limits."""

    def read(text: str) -> int:
        if text.isascii() and text.removeprefix("-").isdecimal() and least <= int(text) <= most:
            return int(text)
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; allowed are whole numbers from {least} to {most}")

    return read


def jobs(text: str) -> int:
    """Read a number of processes as joblib takes it."""
    if number := whole_number(-1, 1024)(text):
        return number
    raise argparse.ArgumentTypeError("'0' is not allowed; allowed are 1 to 1024, or -1 for every core")
