"""How the number of users changes while a run goes on, as Locust's load shapes."""

from __future__ import annotations

import math
import time

from locust import LoadTestShape

Tick = tuple[int, float] | None


class _Shape(LoadTestShape):
    """``users`` is the most there will be, ``time_s`` when the run ends."""

    abstract = True
    use_common_options = True

    def __init__(self, users: int, time_s: float) -> None:
        self.start_time = time.perf_counter()
        self.users = users
        self.time_s = time_s

    def tick(self) -> Tick:
        elapsed_s = time.perf_counter() - self.start_time
        if elapsed_s >= self.time_s:
            return None
        users = self.choose_users(elapsed_s / self.time_s)
        return users, max(1.0, self.users / 2)

    def choose_users(self, part: float) -> int:
        """How many there should be when this part of the time, 0 to 1, is over."""
        raise NotImplementedError


class Ramp(_Shape):
    """Evenly up to all of them at two thirds of the time; then they stay."""

    def choose_users(self, part: float) -> int:
        return max(1, min(self.users, math.ceil(self.users * part * 1.5)))


class Step(_Shape):
    """A quarter, half, three quarters, all: each for as long."""

    def choose_users(self, part: float) -> int:
        return max(1, math.ceil(self.users * (int(part * 4) + 1) / 4))


class Spike(_Shape):
    """A tenth; all of them in the middle third; a tenth again."""

    def choose_users(self, part: float) -> int:
        return self.users if 1 / 3 <= part < 2 / 3 else max(1, self.users // 10)


def make_shape(name: str, users: int, time_s: float) -> LoadTestShape | None:
    """The shape that ``--shape`` names; None for "none"."""
    shapes: dict[str, type[_Shape]] = {"ramp": Ramp, "step": Step, "spike": Spike}
    return shapes[name](users, time_s) if name in shapes else None
