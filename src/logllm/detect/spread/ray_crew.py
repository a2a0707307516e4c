"""Processes of a Ray cluster, or of one that is started here.

Each machine has one actor, which holds the model.
"""

import logging
import os
import socket
import time
from contextlib import suppress
from typing import Any

import polars as pl

from logllm.detect.spread.crew import Crew, Died
from logllm.detect.spread.labour import Job, Labour, Origin
from logllm.errors import LogLLMError, RecipeError, first_line
from logllm.extras import require

LOCAL = "local"
"""In place of a cluster's address: start one on this machine."""
_START = 40.0
"""Seconds that an actor may take until it first answers."""
_SILENCE = 15.0
"""Seconds that an actor may be silent: a thread of its own answers while it works."""
_CONNECT = 5.0
_NO_CLUSTER = (
    "name HOST:PORT as `ray start --head` gives it, or `local` for a cluster on this machine"
)


def ray_crew(address: str, origin: Origin | None) -> Crew:
    """Actors, one on each machine of a cluster.

    Each has all processors of its machine but one, which is left for putting the records in order.

    Args:
        address: the cluster's, or `local`.
        origin: the run that they score with; None: they only read.

    Raises:
        RecipeError: Ray is not installed, or there is no cluster.
    """
    require("ray", to="judge by several processes (--ray)")
    import ray

    _connect(address)
    # A machine may have left the cluster, or have no processor to give.
    machines: list[dict[str, Any]] = []
    for node in ray.nodes():
        processors = node["Resources"].get("CPU", 0)
        if node["Alive"] and processors >= 1:
            machines.append(node)
    if not machines:
        raise RecipeError(
            f"the Ray cluster {address} has no machine with a processor: {_NO_CLUSTER}"
        )
    threads = os.environ.get("OMP_NUM_THREADS")

    def hire(place: int) -> RayHand:
        return RayHand(machines[place], origin, threads=threads)

    return _RayCrew(hire, hands=len(machines))


class _RayCrew(Crew):
    """Actors, which leave the cluster together."""

    def close(self) -> None:
        """End all actors, and with them a cluster that was started here."""
        import ray

        super().close()
        ray.shutdown()


class RayHand:
    """One actor, as this process sees it."""

    def __init__(
        self, machine: dict[str, Any], origin: Origin | None, *, threads: str | None
    ) -> None:
        """Ask for an actor.

        Args:
            machine: where to start it, as Ray describes it; another machine if that has gone.
            origin: the run that it scores with.
            threads: the value of `OMP_NUM_THREADS` here; scores are the same to the last bit with
                the same number of threads.
        """
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        # Ray takes one answer at a time from each group, in the order of the questions.
        actor = ray.remote(concurrency_groups={"alive": 1})(_Actor)
        where = NodeAffinitySchedulingStrategy(machine["NodeID"], soft=True)
        processors = max(1, int(machine["Resources"]["CPU"]) - 1)
        placed = actor.options(num_cpus=processors, scheduling_strategy=where)
        self._actor = placed.remote(origin, threads)
        # It is asked for a sign of life at once: the answer comes when it has started.
        self._asked = self._actor.alive.options(concurrency_group="alive").remote()
        self._limit = time.monotonic() + _START

    def begin(self, job: Job, lessons: list[pl.Series]) -> Any:
        """Have it do a job; gives a reference to the result that will come."""
        without_lesson = job._replace(lesson=None)
        return self._actor.do.remote(without_lesson, lessons)

    def done(self, ticket: Any, *, wait: float) -> bool:
        """Whether a job is done, or has failed, within some seconds.

        Raises:
            Died: it has not answered for too long.
        """
        import ray

        ready, _ = ray.wait([ticket], timeout=wait, fetch_local=False)
        if ready:
            return True
        answered, _ = ray.wait([self._asked], timeout=0)
        if answered:
            self._asked = self._actor.alive.options(concurrency_group="alive").remote()
            self._limit = time.monotonic() + _SILENCE + wait
        elif time.monotonic() > self._limit:
            raise Died("an actor gives no answer: its machine has gone, or has no processor free")
        return False

    def result(self, ticket: Any) -> Any:
        """The result of a job.

        Raises:
            Died: the actor has died, or the machine that held the result.
            LogLLMError: what the job raised.
        """
        import ray
        from ray.exceptions import GetTimeoutError, ObjectLostError, RayActorError, RayTaskError

        try:
            return ray.get(ticket, timeout=_START)
        except RayTaskError as exc:
            if isinstance(exc.cause, LogLLMError):
                raise exc.cause from None
            raise
        except (RayActorError, ObjectLostError, GetTimeoutError) as exc:
            raise Died(first_line(exc)) from exc

    def process(self) -> int:
        """The number of its process, on its machine."""
        import ray

        asked = self._actor.alive.options(concurrency_group="alive").remote()
        number: int = ray.get(asked, timeout=_START)
        return number

    def leave(self) -> None:
        """End the actor."""
        import ray

        with suppress(Exception):  # it may have gone, and its cluster with it
            ray.kill(self._actor)


class _Actor:
    """The object that Ray runs in another process."""

    def __init__(self, origin: Origin | None, threads: str | None) -> None:
        """Open nothing yet, so that it answers soon."""
        # Ray sets this to the number of processors asked for; before torch is loaded it can be
        # changed.
        os.environ.pop("OMP_NUM_THREADS", None)
        if threads is not None:
            os.environ["OMP_NUM_THREADS"] = threads
        self._labour = Labour(origin)

    def alive(self) -> int:
        """The process's number."""
        return os.getpid()

    def do(self, job: Job, lessons: list[pl.Series]) -> Any:
        """Do a job; see `Labour.do`."""
        return self._labour.do(job, lessons)


def _connect(address: str) -> None:
    """Join a cluster, or start one.

    Raises:
        RecipeError: there is none at the address.
    """
    import ray

    quiet: dict[str, Any] = {
        "log_to_driver": False,
        "configure_logging": False,
        "logging_level": logging.ERROR,
    }
    if address == LOCAL:
        started: dict[str, Any] = {"address": "local", "include_dashboard": False}
    else:
        _reach(address)
        started = {"address": address}
    try:
        ray.init(**started, **quiet)
    except Exception as exc:  # whatever a program of others finds wrong with a machine
        what = "cannot be started" if address == LOCAL else f"{address} cannot be joined"
        raise RecipeError(f"the Ray cluster {what} ({first_line(exc)}): {_NO_CLUSTER}") from exc


def _reach(address: str) -> None:
    """Check that something answers at an address: Ray itself would try for a minute.

    Raises:
        RecipeError: nothing answers.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise RecipeError(f"--ray {address} is no cluster's address: {_NO_CLUSTER}")
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT).close()
    except OSError as exc:
        raise RecipeError(
            f"--ray {address} cannot be reached ({first_line(exc)}): {_NO_CLUSTER}"
        ) from exc
