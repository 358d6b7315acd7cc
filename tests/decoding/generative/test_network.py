from __future__ import annotations

import torch

from latticegraph.config import DecoderNetworkSettings
from latticegraph.decoding.generative import CausalTransformer

SETTINGS = DecoderNetworkSettings(
    width=16, layers=2, heads=2, prefix_tokens=3, vocabulary=300, max_tokens=7, dropout=0.0
)
D = 12


def random_network() -> CausalTransformer:
    """In float64, with no weight at 0, so that every part has a say."""
    network = CausalTransformer(SETTINGS, D).double().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.3 * torch.randn_like(parameter))
    return network


def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    rows = torch.nn.functional.normalize(torch.randn(4, D, dtype=torch.float64), dim=1)
    return rows, torch.randint(0, 300, (4, 6))


def test_steps_with_a_memory_equal_the_whole_text(tolerances) -> None:
    network, (rows, ids) = random_network(), inputs()
    whole = network(rows, ids)
    scores, state = network.start(rows)
    torch.testing.assert_close(scores, whole[:, 0], **tolerances[torch.float64])
    for place in range(6):
        scores = network.step(ids[:, place], state)
        torch.testing.assert_close(scores, whole[:, place + 1], **tolerances[torch.float64])


def test_selected_states_go_on_alone(tolerances) -> None:
    network, (rows, ids) = random_network(), inputs()
    _, state = network.start(rows)
    network.step(ids[:, 0], state)
    order = torch.tensor([2, 0, 2])
    chosen = state.select(order)
    found = network.step(ids[order, 1], chosen)
    wanted = network(rows[order], ids[order, :2])[:, 2]
    torch.testing.assert_close(found, wanted, **tolerances[torch.float64])


def test_a_place_hears_only_those_before_it(tolerances) -> None:
    network, (rows, ids) = random_network(), inputs()
    other = ids.clone()
    other[:, 3:] = (other[:, 3:] + 1) % 300
    one, two = network(rows, ids), network(rows, other)
    torch.testing.assert_close(one[:, :4], two[:, :4], **tolerances[torch.float64])
    assert (one[:, 4:] - two[:, 4:]).abs().amax(dim=(1, 2)).min() > 1e-3


def test_embedding_conditions_every_block_and_the_prefix() -> None:
    network, (rows, ids) = random_network(), inputs()
    base = network(rows, ids)
    for name, module in network.named_modules():
        if not name.endswith(("modulation", "prefix")):
            continue
        kept = {key: value.clone() for key, value in module.state_dict().items()}
        with torch.no_grad():
            module.weight.zero_()
        assert (network(rows, ids) - base).abs().max() > 1e-4, name
        module.load_state_dict(kept)


def test_untrained_blocks_are_the_identity() -> None:
    network, (rows, ids) = CausalTransformer(SETTINGS, D).double().eval(), inputs()
    before = network(rows, ids)
    with torch.no_grad():
        for block in network.blocks:
            block.attention_out.weight.mul_(50)
            block.output.weight.mul_(50)
    assert torch.equal(network(rows, ids), before)


def test_every_parameter_learns() -> None:
    network = random_network().train()
    rows, ids = inputs()
    network(rows, ids).square().sum().backward()
    assert [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []
