from __future__ import annotations

import pytest
import torch

from latticegraph.errors import DataError, TrainingError
from latticegraph.training import EmbeddingPairs


def _started(trainer):
    rows = trainer.train.source_ND
    trainer.student.start_from_data(rows, rows)
    return trainer


def test_explained_variance_is_that_of_all_rows_at_once(configure, make):
    trainer = _started(make(configure(evaluation={"batch_size": 7})))
    values = trainer.validator.measure(trainer.student, trainer.state.objective, 0)
    target_ND = trainer.validator.pairs.target_ND
    with torch.no_grad():
        error_ND = trainer.student(target_ND).embedding_BD - target_ND
    spread_ND = target_ND - trainer.train.target_ND.mean(0)
    wanted = 1 - error_ND.square().sum() / spread_ND.square().sum()
    assert values["explained_variance"] == pytest.approx(float(wanted), abs=1e-5)
    assert set(values) >= {"cosine", "centred_cosine", "mse", "recall_at_1", "usage", "losses"}
    assert "grad_norm" not in values
    assert not trainer.student.training


def test_large_validation_sets_are_sampled_once_and_for_all(configure, make, pairs):
    def validator(seed=0):
        config = configure(run={"seed": seed}, evaluation={"validation_samples": 12})
        return make(config, validation=pairs(40, 4)).validator

    one, two, other = validator(), validator(), validator(seed=1)
    assert len(set(one.index_N.tolist())) == 12
    assert one.index_N.tolist() == two.index_N.tolist() != other.index_N.tolist()


def test_examples_name_the_nearest_known_sentence(configure, make, records):
    texts = [f"sentence {number} 🌍" for number in range(20)]
    trainer = make(configure(evaluation={"decoded_examples": 3}), validation_texts=texts)
    trainer.fit()
    rows = [row for row in records(trainer) if row["kind"] == "examples"]
    assert [row["update"] for row in rows] == [0, 5, 10]
    place = trainer.validator.index_N[0]
    for example in rows[-1]["examples"]:
        assert set(example) == {"target", "decoded", "cosine"}
        assert {example["target"], example["decoded"]} <= set(texts)
        assert 0 < example["cosine"] <= 1
    assert len(rows[-1]["examples"]) == 3
    assert rows[-1]["examples"][0]["target"] == texts[place]


def test_texts_that_do_not_match_the_pairs_are_refused(configure, make):
    with pytest.raises(DataError, match=r"one text per validation pair \(20\), got 2\. Pass"):
        make(configure(), validation_texts=["a", "b"])


def test_non_finite_prediction_is_a_training_error(configure, make):
    trainer = _started(make(configure()))
    with torch.no_grad():
        trainer.student.extractor.gain.fill_(torch.inf)
    with pytest.raises(
        TrainingError, match=r"finite predictions .* after update 3, got NaN or inf"
    ):
        trainer.validator.measure(trainer.student, trainer.state.objective, 3)


def test_validation_draws_no_random_number(configure, make, pairs):
    model = {"transformer": {"kind": "autoencoder", "dropout": 0.5}}
    source_ND = pairs(20, 2).source_ND
    trainer = _started(
        make(configure(model=model), validation=EmbeddingPairs(source_ND, source_ND))
    )
    before = torch.get_rng_state()
    first = trainer.validator.measure(trainer.student, trainer.state.objective, 0)
    assert torch.equal(torch.get_rng_state(), before)
    assert trainer.validator.measure(trainer.student, trainer.state.objective, 0) == first
