"""Other ways to sum over neighbours: edge-level layers of PyG, and a dense convolution.

Legend: C channels, N cells, B batch, E edges, O offsets, H heads, J channels per head (C = J * H),
R relations.
"""

from __future__ import annotations

import torch
from cases import Case, Problem
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing, RGCNConv

from latticegraph.aggregation.aggregation import make_neighbourhood
from latticegraph.lattice import EdgeType


class WeightedEdges(MessagePassing):
    """``m_i = sum over edges of w_e x_j``, a message per edge, as PyG's layers do it."""

    def __init__(self) -> None:
        super().__init__(aggr="add", node_dim=0)

    def forward(self, x: Tensor, edge_index: Tensor, weight: Tensor) -> Tensor:
        """Sums.

        Shapes:
            x (N, B, J, H), edge_index (2, E), weight (E, H) -> (N, B, J, H)
        """
        summed: Tensor = self.propagate(edge_index, x=x, weight=weight)
        return summed

    def message(self, x_j: Tensor, weight: Tensor) -> Tensor:
        """One value per edge, channel and sample."""
        return x_j * weight[:, None, None, :]


def pyg_edge(problem: Problem) -> Case:
    """A PyG layer over all edges; the states of a cell and all its samples are one row."""
    graph, device = problem.graph, problem.device
    edge_index_2E, offset_E = graph.edge_index_2E.to(device), graph.edge_offset_E.to(device)
    heads = problem.weight_OH.shape[1]

    def rows(states_CNB: Tensor) -> Tensor:
        return states_CNB.permute(1, 2, 0).unflatten(2, (-1, heads)).contiguous()

    layer = WeightedEdges()
    x_NBJH = rows(problem.x_CNB).requires_grad_()
    upstream_NBJH = rows(problem.upstream_CNB)
    weight_OH = problem.weight_OH.clone().requires_grad_()

    def forward() -> Tensor:
        out_NBJH: Tensor = layer(x_NBJH, edge_index_2E, weight_OH.index_select(0, offset_E))
        return out_NBJH

    def both() -> list[Tensor]:
        out = forward()
        return [out.detach(), *torch.autograd.grad(out, [x_NBJH, weight_OH], upstream_NBJH)]

    def results() -> list[Tensor]:
        *states, grad_OH = both()
        return [*(s.flatten(2).permute(2, 0, 1) for s in states), grad_OH]

    return Case("pyg_edge", forward, both, results)


def rgcn(problem: Problem) -> Case:
    """PyG's relational layer, edge types as relations, the batch as one block-diagonal graph.

    Its weights are a matrix per type and not a number per offset and head, so it is compared with
    ``sum over r of W_r A_r x``, the sums A_r of 0 and 1 by the package.
    """
    graph, device = problem.graph, problem.device
    channels, cells, batch = problem.x_CNB.shape
    shift_B = torch.arange(batch) * cells
    edge_index = graph.edge_index_2E[:, None, :] + shift_B[None, :, None]
    edge_index = edge_index.flatten(1).to(device)
    edge_type = graph.edge_type_E.repeat(batch).to(device)
    layer = RGCNConv(
        channels, channels, len(EdgeType), aggr="add", root_weight=False, bias=False
    ).to(device)

    def rows(states_CNB: Tensor) -> Tensor:
        return states_CNB.permute(2, 1, 0).flatten(0, 1).contiguous()

    x_MC, upstream_MC = rows(problem.x_CNB).requires_grad_(), rows(problem.upstream_CNB)

    def forward() -> Tensor:
        out_MC: Tensor = layer(x_MC, edge_index, edge_type)
        return out_MC

    def both() -> list[Tensor]:
        out = forward()
        return [out.detach(), *torch.autograd.grad(out, [x_MC, layer.weight], upstream_MC)]

    def states(rows_MC: Tensor) -> Tensor:
        return rows_MC.view(batch, cells, channels).permute(2, 1, 0)

    def results() -> list[Tensor]:
        out_MC, grad_MC, grad_RCC = both()
        return [states(out_MC), states(grad_MC), grad_RCC]

    def expected() -> list[Tensor]:
        x_CM = x_MC.t().contiguous()
        out_MC = torch.zeros_like(upstream_MC)
        for kind, weight_CC in zip(EdgeType, layer.weight, strict=True):
            neighbourhood = make_neighbourhood(graph, [kind], 1, "fft")
            neighbourhood.to(device, torch.float32)
            one_O1 = torch.ones(neighbourhood.edge_attr_O4.shape[0], 1, device=device)
            out_MC = out_MC + neighbourhood.sum(x_CM, neighbourhood.prepare(one_O1)).t() @ weight_CC
        grads = torch.autograd.grad(out_MC, [x_MC, layer.weight], upstream_MC)
        return [states(out_MC.detach()), states(grads[0]), grads[1]]

    return Case("rgcn", forward, both, results, expected)


def conv3d(problem: Problem) -> Case:
    """A depthwise convolution with a dense kernel that holds the ball, zeros in its corners."""
    x, y, z = problem.graph.settings.dimensions
    channels, heads = problem.x_CNB.shape[0], problem.weight_OH.shape[1]
    reach = int(problem.graph.offsets_O3.abs().max())
    place_O3 = (problem.graph.offsets_O3 + reach).to(problem.device)
    px, py, pz = place_O3.unbind(1)
    width = 2 * reach + 1

    def boxes(states_CNB: Tensor) -> Tensor:
        return states_CNB.permute(2, 0, 1).unflatten(2, (x, y, z)).contiguous()

    x_BCXYZ = boxes(problem.x_CNB).requires_grad_()
    upstream_BCXYZ = boxes(problem.upstream_CNB)
    weight_OH = problem.weight_OH.clone().requires_grad_()

    def forward() -> Tensor:
        kernel = weight_OH.new_zeros(heads, width, width, width)
        kernel[:, px, py, pz] = weight_OH.t()
        kernel_C1 = kernel.repeat(channels // heads, 1, 1, 1)[:, None]
        return nn.functional.conv3d(x_BCXYZ, kernel_C1, padding=reach, groups=channels)

    def both() -> list[Tensor]:
        out = forward()
        return [out.detach(), *torch.autograd.grad(out, [x_BCXYZ, weight_OH], upstream_BCXYZ)]

    def results() -> list[Tensor]:
        *states, grad_OH = both()
        return [*(s.flatten(2).permute(1, 2, 0) for s in states), grad_OH]

    return Case("conv3d", forward, both, results)
