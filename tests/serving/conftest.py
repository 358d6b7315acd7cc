"""A tiny model with a teacher that embeds any text, its application, and a server in a thread."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import uvicorn
from fastapi import FastAPI

from latticegraph.config import Config
from latticegraph.decoding import TextDecoder
from latticegraph.hub import LatticeModel, LatticeModelConfig, TeacherIdentity
from latticegraph.lattice import LatticeGraph
from latticegraph.model import build_student
from latticegraph.serving.app import create_app
from latticegraph.serving.engine import Engine
from latticegraph.serving.settings import ServeSettings
from latticegraph.teachers import build_teacher
from tests.words import CODE as CODE_OF_WORDS

WIDTH, CODE = 24, 20
BANK = ["the sea is deep", "bread is baked early", "a crow counts to four"]

# Reads 20 words of a text; the word slow takes a second.
TEACHER = (
    CODE_OF_WORDS
    + """

import time


class Few(Words):
    max_tokens = 20

    def encode(self, texts, progress=None):
        if any("slow" in text for text in texts):
            time.sleep(1.0)
        return super().encode([" ".join(text.split()[: self.max_tokens]) for text in texts])

    def token_counter(self):
        return lambda texts: [max(1, len(text.split())) for text in texts]
"""
)


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model of 3 x 4 x 5 cells; its teacher is the file ``words.py`` beside it."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "words.py").write_text(TEACHER, encoding="utf-8")
    kind = f"{folder / 'words.py'}:Few"
    settings = {
        "lattice": {"dimensions": [3, 4, 5], "adaptive_radius_min": 1.6},
        "model": {
            "state_channels": 4,
            "messages": {"heads": 4},
            "dynamics": {"steps": 5, "min_steps": 5},
        },
        "teacher": {"kind": kind, "name": None, "texts": None, "dimension": WIDTH},
    }
    config = Config.model_validate(settings)
    graph = LatticeGraph.build(config.lattice)
    student = build_student(config.model, graph, WIDTH, seed=3)
    rows = torch.randn(60, WIDTH, generator=torch.Generator().manual_seed(0))
    student.start_from_data(rows, rows)
    identity = TeacherIdentity.of(build_teacher(config.teacher), config.teacher)
    model = LatticeModel(student, graph, LatticeModelConfig.of(config, identity))
    model.save_pretrained(folder / "tiny" / "model")
    return folder / "tiny" / "model"


@pytest.fixture(scope="session")
def trust(saved: Path) -> list[str]:
    """The class that the saved model names."""
    return [f"{saved.parents[1] / 'words.py'}:Few"]


@pytest.fixture(scope="session")
def model(saved: Path, trust: list[str]) -> LatticeModel:
    """The saved model, loaded."""
    return LatticeModel.from_pretrained(saved, trust)


@pytest.fixture(scope="session")
def bank(model: LatticeModel) -> TextDecoder:
    """Three known sentences."""
    return TextDecoder(BANK, model.teacher.encode(BANK))


AppMaker = Callable[..., FastAPI]


@pytest.fixture(scope="session")
def make_app(model: LatticeModel, bank: TextDecoder) -> AppMaker:
    """A function from settings to an application; ``with_bank=False`` leaves out the bank."""

    def make(*, with_bank: bool = True, **settings: Any) -> FastAPI:
        engine = Engine(model, bank if with_bank else None)
        return create_app(engine, ServeSettings.of(**({"name": "tiny"} | settings)))

    return make


@contextlib.contextmanager
def running(app: FastAPI) -> Iterator[str]:
    """The address of a server on this machine that runs in a thread."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_config=None, access_log=False, ws="none", lifespan="on")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)
        listener.close()
        assert not thread.is_alive()
