"""The code on its own, and its refinement through the frozen decoder."""

from __future__ import annotations

import pytest
import torch

from latticegraph.config import Config
from latticegraph.errors import DataError
from latticegraph.hub import LatticeModel, LatticeModelConfig
from latticegraph.hub.refine import refine_codes
from latticegraph.lattice import LatticeGraph
from latticegraph.model import build_student

WIDTH = 24


@pytest.fixture(params=["fused", "plain"])
def model(request):
    """A 3 x 3 x 3 cube, 9 numbers for 24, started from data and not trained."""
    settings = {
        "lattice": {"dimensions": [3, 3, 3], "adaptive_radius_min": 1.6},
        "model": {
            "state_channels": 4,
            "kernel": request.param,
            "messages": {"heads": 4},
            "dynamics": {"steps": 3, "min_steps": 3},
        },
        "teacher": {"kind": "array", "name": "none", "texts": "none", "dimension": WIDTH},
    }
    config = Config.model_validate(settings)
    graph = LatticeGraph.build(config.lattice)
    student = build_student(config.model, graph, WIDTH, seed=3)
    rows = torch.randn(200, WIDTH, generator=torch.Generator().manual_seed(0))
    student.start_from_data(rows, rows)
    return LatticeModel(student, graph, LatticeModelConfig.of(config, None))


@pytest.fixture
def heldout():
    return torch.randn(30, WIDTH, generator=torch.Generator().manual_seed(1))


def errors(model, codes, heldout):
    return (model.from_codes(codes) - heldout).square().sum(1)


def test_codes_are_all_that_the_prediction_needs(model, heldout):
    codes = model.to_codes(heldout, batch_size=7)
    assert codes.shape == (30, 9)
    assert torch.allclose(model.from_codes(codes, batch_size=11), model.predict(heldout), atol=1e-5)
    moved = model.from_codes(codes + 0.5)
    assert (moved - model.predict(heldout)).abs().max() > 0.1


def test_refined_codes_reconstruct_every_heldout_text_better(model, heldout):
    before = errors(model, model.to_codes(heldout), heldout)
    few = errors(model, model.to_codes(heldout, refine_steps=5), heldout)
    many = errors(model, model.to_codes(heldout, refine_steps=40), heldout)
    assert (few < before).all()
    assert many.mean() < few.mean()


def test_refinement_repairs_what_the_encoder_got_wrong(model, heldout):
    good = float(errors(model, model.to_codes(heldout, refine_steps=60), heldout).mean())
    weight = model.student.transformer.to_surface[0].linear.weight
    with torch.no_grad():
        weight += 0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(2))
    bad = float(errors(model, model.to_codes(heldout), heldout).mean())
    repaired = float(errors(model, model.to_codes(heldout, refine_steps=60), heldout).mean())
    assert bad > 1.1 * good
    assert repaired == pytest.approx(good, rel=0.01)


def test_refinement_uses_the_text_s_own_embedding_and_leaves_the_decoder_as_it_is(model, heldout):
    weights = {name: value.clone() for name, value in model.student.state_dict().items()}
    together = model.to_codes(heldout, refine_steps=8)
    alone = torch.cat([model.to_codes(one[None], refine_steps=8) for one in heldout[:4]])
    assert torch.allclose(together[:4], alone, atol=1e-4)
    for name, value in model.student.state_dict().items():
        assert torch.equal(value, weights[name]), name
    assert all(parameter.grad is None for parameter in model.student.parameters())


def test_refined_code_is_as_wide_and_never_worse_than_where_it_starts(model, heldout):
    best = model.to_codes(heldout, refine_steps=200)
    again = refine_codes(model.student, best, heldout, 1)
    assert again.shape == (30, 9)
    assert (errors(model, again, heldout) <= errors(model, best, heldout) + 1e-5).all()
    same = model.to_codes(heldout)
    assert torch.equal(refine_codes(model.student, same, heldout, 0), same)


def test_wrong_rows_and_steps_are_refused(model, heldout):
    with pytest.raises(DataError, match="embeddings: expected at least one row of width 24"):
        model.to_codes(heldout[:, :5])
    with pytest.raises(DataError, match=r"codes: expected at least one row of width 9, got .*24"):
        model.from_codes(heldout)
    with pytest.raises(DataError, match="refine_steps: expected 0 or more steps, got -1"):
        model.to_codes(heldout, refine_steps=-1)
    with pytest.raises(DataError, match="batch_size: expected at least 1 sample, got 0"):
        model.to_codes(heldout, batch_size=0)
