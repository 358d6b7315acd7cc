"""Why a batcher gives no result."""

from __future__ import annotations


class Overloaded(Exception):  # noqa: N818
    """The queue is full; ``retry_after`` is the expected time to empty it, in whole seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"the queue is full; try again in {retry_after} s")
        self.retry_after = retry_after


class Unavailable(Exception):  # noqa: N818
    """The worker is dead or the server stops; no work is accepted."""


class DeadlineExceeded(Exception):  # noqa: N818
    """The work was not finished in its time."""


class ItemFailed(Exception):  # noqa: N818
    """One item failed, alone; ``index`` is its place in the request, ``__cause__`` the reason."""

    def __init__(self, index: int) -> None:
        super().__init__(f"item {index} failed")
        self.index = index
