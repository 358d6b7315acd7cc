"""The README.md of a saved model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from latticegraph.files import write_text
from latticegraph.hub.settings import LatticeModelConfig

CARD = "README.md"

_BODY = """\
# {name}

A latticegraph model: a graph neural network on a {sides} lattice that maps sentence embeddings
of `{teacher}` ({width} numbers) to predicted embeddings of the same space.

| | |
|---|---|
| cells | {cells:,} |
| lattice steps | {steps} |
| parameters | {parameters:,} |
| teacher | `{teacher}`, fingerprint `{fingerprint}` |

```python
from latticegraph import LatticeModel

model = LatticeModel.from_pretrained("{folder}"{trust})
embeddings = model.encode(["A sentence."])  # float32, shape (1, {width})
```
{results}"""

_RESULTS = """
## Results on held-out text

| metric | value |
|---|---:|
{rows}
"""


def write_card(
    folder: Path,
    config: LatticeModelConfig,
    parameters: int,
    trust: list[str],
    results: Mapping[str, float] | None = None,
) -> None:
    """Write the model card into the folder of a saved model.

    Args:
        folder: of the model.
        config: of the model.
        parameters: number of trained values.
        trust: class paths that the model names.
        results: held-out metrics by name; None: not measured.

    Raises:
        ConfigError: when the disk is full or refuses.
    """
    # A quarter of a second to import, and only needed here.
    from huggingface_hub import EvalResult, ModelCard, ModelCardData

    name = folder.resolve().parent.name if folder.name == "model" else folder.name
    measured = [
        EvalResult(
            task_type="feature-extraction",
            dataset_type="text",
            dataset_name="held-out text of the run",
            metric_type=metric,
            metric_value=value,
        )
        for metric, value in (results or {}).items()
    ]
    data = ModelCardData(
        library_name="latticegraph",
        pipeline_tag="feature-extraction",
        tags=["sentence-embeddings", "graph-neural-network"],
        model_name=name,
        eval_results=measured or None,
    )
    rows = "\n".join(f"| {metric} | {value:.5f} |" for metric, value in (results or {}).items())
    identity, first = config.identity, config.lattice.dimensions
    body = _BODY.format(
        name=name,
        sides=" x ".join(map(str, first)),
        teacher=config.teacher.kind if identity is None else identity.name,
        width=config.teacher.dimension,
        cells=first[0] * first[1] * first[2],
        steps=config.model.dynamics.steps,
        parameters=parameters,
        fingerprint="unknown" if identity is None else identity.fingerprint[:12],
        folder=folder.name,
        trust=f", trust={trust}" if trust else "",
        results=_RESULTS.format(rows=rows) if rows else "",
    )
    card = ModelCard(f"---\n{data.to_yaml()}\n---\n\n{body}")
    write_text(folder / CARD, str(card), str(folder))
