"""How a function starts: what its modules and its model make is made once, and stays."""

import gc


class Start:
    """Keeps Python's collector of cycles away from a start, and from what the start has made.

    All of that stays for as long as the process lives, so that looking through it finds nothing, and takes a tenth of
    the start.
    """

    def __enter__(self) -> None:
        gc.disable()

    def __exit__(self, *_: object) -> None:
        gc.freeze()
        gc.enable()
