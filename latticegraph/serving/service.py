"""From checked requests to vectors: counts tokens, applies limits, asks the batcher.

Legend: N inputs, D teacher width, S surface width.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from latticegraph.serving.batcher import Batcher
from latticegraph.serving.engine import Engine, Job, Output, Vectors
from latticegraph.serving.errors import ApiError
from latticegraph.serving.metrics import ServeMetrics
from latticegraph.serving.settings import ServeSettings


class Service:
    """One model, its queue and its counts.

    Args:
        engine: computes.
        settings: limits.

    Raises:
        ConfigError: under these limits some allowed request could never be answered.
        TeacherError: the teacher cannot be loaded.
    """

    def __init__(self, engine: Engine, settings: ServeSettings) -> None:
        self.engine, self.settings = engine, settings
        self.metrics = ServeMetrics()
        self.longest = engine.model.teacher.max_tokens
        settings.check(self.longest or 1)
        self.batcher: Batcher[Job, Vectors] = Batcher(
            engine.run, settings.batch_limits(), self.metrics
        )
        self._count_tokens = engine.model.teacher.token_counter()

    def start(self) -> None:
        """Start the threads; call it inside the event loop."""
        # A second thread, so that a batch that is computed does not delay the next request.
        self._counting = ThreadPoolExecutor(1, thread_name_prefix="latticegraph-tokens")
        self.batcher.start()

    async def stop(self) -> None:
        """Finish what was accepted, then stop."""
        await self.batcher.drain()
        self._counting.shutdown()

    async def texts(
        self,
        texts: Sequence[str],
        outputs: set[Output],
        deadline: float,
        *,
        truncate: bool = False,
        nearest: int = 0,
    ) -> tuple[list[Vectors], int]:
        """The vectors of texts, and the tokens that the teacher reads of them.

        Args:
            texts: N texts.
            outputs: what is wanted of each.
            deadline: on the clock of ``time.monotonic``.
            truncate: texts that are too long are cut in place of refused.
            nearest: sentences of the bank wanted for each.

        Raises:
            ApiError: too many texts, or one that is too long.
        """
        self.check_count(len(texts), "input")
        loop = asyncio.get_running_loop()
        tokens = await loop.run_in_executor(self._counting, self._count_tokens, texts)
        for index, count in enumerate(tokens):
            if self.longest is not None and count > self.longest:
                if not truncate:
                    raise ApiError(
                        400,
                        f"input[{index}]: expected at most {self.longest} tokens, got {count}; "
                        "shorten it, or ask for it to be cut with truncate",
                        f"input[{index}]",
                        "context_length_exceeded",
                    )
                tokens[index] = self.longest
        jobs = [Job(text, "text", frozenset(outputs), nearest) for text in texts]
        made = await self.batcher.submit(jobs, tokens, deadline - time.monotonic())
        self.metrics.tokens.inc(sum(tokens))
        return made, sum(tokens)

    async def rows(self, jobs: Sequence[Job], deadline: float) -> list[Vectors]:
        """The vectors of codes or teacher embeddings; each counts as one token in the queue."""
        return await self.batcher.submit(jobs, [1] * len(jobs), deadline - time.monotonic())

    def info(self) -> dict[str, Any]:
        """What is served; see :class:`~latticegraph.serving.schemas.Info`."""
        model, bank = self.engine.model, self.engine.bank
        lattice, student = model.config.lattice, model.student
        if lattice.surface == "front_back":
            axes = [axis for axis in range(3) if axis != lattice.axis]
            face, names = (
                [lattice.dimensions[axis] for axis in axes],
                ["xyz"[axis] for axis in axes],
            )
        else:
            face, names = [1, student.surface_width], ["", "number of the code"]
        return {
            "model": self.settings.name,
            "teacher": model.teacher.name,
            "lattice": list(lattice.dimensions),
            "code": student.surface_width,
            "face": face,
            "face_axes": names,
            "embedding": student.teacher_dimension,
            "max_tokens": self.longest,
            "max_inputs": self.settings.max_inputs,
            "bank": 0 if bank is None else bank.most,
            "needs_key": self.settings.api_key is not None,
        }

    def check_count(self, count: int, param: str) -> None:
        """Refuse more inputs than one request may have.

        Raises:
            ApiError: naming the field ``param``.
        """
        if count > self.settings.max_inputs:
            raise ApiError(
                413,
                f"expected at most {self.settings.max_inputs} inputs, got {count}",
                param,
                "too_many_inputs",
            )
