"""What docs/write_a_projection.md teaches."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.extension.conftest import VARIANTS
from tests.extension.test_write_an_expert import records

PAGE = "write_a_projection.md"


@pytest.mark.parametrize("variant", VARIANTS)
def test_projection_of_the_page_trains(train_page, variant):
    config, outcome = train_page(PAGE, *VARIANTS[variant])
    assert config.model.transformer.options == {"limit": 4.0}
    rows = [r for r in records(Path(outcome["run_dir"])) if r["kind"] == "train"]
    assert rows[-1]["grad_norm"]["transformer"] > 0
