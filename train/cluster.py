"""Run joblib's work on a Dask cluster, checked before anything is sent to it."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

import joblib

_PATIENCE = 5.0  # seconds
_MUST_BE_EQUAL = ("scikit-learn", "numpy", "scipy")


class ClusterError(ValueError):
    """There is no cluster, it has no workers, or they lack what the work needs."""


@contextmanager
def cluster(address: str | None) -> Iterator[None]:
    """Let joblib run on the Dask cluster at an address, as ``tcp://HOST:PORT``; without one, where it would anyway.

    Raises
    ------
    ClusterError
        Naming the workers that can't import this package or have other versions: their scores would differ, or never
        come.
    """
    if address is None:
        yield
        return
    from distributed import Client

    try:
        client = Client(address, timeout=_PATIENCE)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise ClusterError(f"no Dask cluster at {address}: {error}") from error
    with client, joblib.parallel_config("dask"):
        _check(client, address)
        yield


def _check(client: "Client", address: str) -> None:  # type: ignore[name-defined]  # noqa: F821
    try:
        client.wait_for_workers(1, timeout=_PATIENCE)
    except TimeoutError as error:
        raise ClusterError(f"the Dask cluster at {address} has no workers") from error
    # Builtins and the standard library alone are sent: a worker without this package couldn't read a function of ours.
    imported = client.run(exec, "import train.model.search", on_error="return")
    if lacking := {worker: error for worker, error in imported.items() if error is not None}:
        worker, reason = next(iter(lacking.items()))
        raise ClusterError(
            f"{len(lacking)} of {len(imported)} Dask workers can't import this project (at {worker}: {reason}); start "
            "them in its folder, in an environment with requirements.txt"
        )
    for name in _MUST_BE_EQUAL:
        for worker, found in client.run(version, name).items():
            if found != version(name):
                raise ClusterError(f"the Dask worker {worker} has {name} {found}; {version(name)} is needed, as here")
