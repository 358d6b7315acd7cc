"""A causal transformer that an embedding conditions in every block.

Legend: B texts, L tokens, P prefix tokens, D teacher width, W width, H heads, V vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from latticegraph.config.decoder import DecoderNetworkSettings

INIT_STD = 0.02


@dataclass(eq=False)
class Memory:
    """What a block keeps of the tokens so far, so that each is computed once.

    Args:
        keys_BHLK: keys of attention.
        values_BHLK: values of attention.
    """

    keys_BHLK: Tensor
    values_BHLK: Tensor


@dataclass(eq=False)
class State:
    """Texts under way: the embeddings' part, computed once, and a memory per block.

    Args:
        modulations: of every block and of the output, [B, 1, 6 W] each.
        topic_B1V: how well each token fits the text.
        memories: of every block.
        length: places used so far, prefix included.
    """

    modulations: list[Tensor]
    topic_B1V: Tensor
    memories: list[Memory]
    length: int

    def select(self, index_B: Tensor) -> State:
        """The state of these texts, in this order; repeats are copies.

        Args:
            index_B: places among the texts so far.
        """
        return State(
            [each[index_B] for each in self.modulations],
            self.topic_B1V[index_B],
            [Memory(m.keys_BHLK[index_B], m.values_BHLK[index_B]) for m in self.memories],
            self.length,
        )


class Block(nn.Module):
    """Attention and feed-forward, each shifted, scaled and gated by the embedding (AdaLN-Zero).

    ``x + gate * f(norm(x) * (1 + scale) + shift)``; shift, scale and gate are linear in the
    condition and start at 0, so that an untrained block is the identity. (Peebles and Xie 2023,
    "Scalable diffusion models with transformers".)

    Args:
        settings: of the network.
        condition_width: width of the condition.
    """

    def __init__(self, settings: DecoderNetworkSettings, condition_width: int) -> None:
        super().__init__()
        width = settings.width
        self.heads = settings.heads
        self.modulation = nn.Linear(condition_width, 6 * width)
        self.attention_in = nn.Linear(width, 3 * width, bias=False)
        self.attention_out = nn.Linear(width, width, bias=False)
        self.hidden = nn.Linear(width, 4 * width)
        self.output = nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, x_BLW: Tensor, modulation_B1M: Tensor, memory: Memory | None) -> Tensor:
        """The states after this block.

        Args:
            x_BLW: states of the new tokens.
            modulation_B1M: shift, scale and gate of both parts.
            memory: of the tokens before, which grows; None: there are none and none follow.

        Shapes:
            x_BLW: [B, L, W]; modulation_B1M: [B, 1, 6 W]; result: [B, L, W].
        """
        shift, scale, gate, shift_2, scale_2, gate_2 = modulation_B1M.chunk(6, dim=2)
        heard_BLW = self._attend(_modulated(x_BLW, shift, scale), memory)
        x_BLW = x_BLW + gate * self.dropout(heard_BLW)
        hidden_BLU = F.gelu(self.hidden(_modulated(x_BLW, shift_2, scale_2)))
        out_BLW: Tensor = x_BLW + gate_2 * self.dropout(self.output(hidden_BLU))
        return out_BLW

    def _attend(self, x_BLW: Tensor, memory: Memory | None) -> Tensor:
        rows, length, width = x_BLW.shape
        shape = (rows, length, 3, self.heads, width // self.heads)
        query, key, value = self.attention_in(x_BLW).view(shape).permute(2, 0, 3, 1, 4)
        if memory is not None:
            key = memory.keys_BHLK = torch.cat([memory.keys_BHLK, key], dim=2)
            value = memory.values_BHLK = torch.cat([memory.values_BHLK, value], dim=2)
        # A single new token may hear all before it; several are the first ones.
        heard = F.scaled_dot_product_attention(query, key, value, is_causal=length > 1)
        out_BLW: Tensor = self.attention_out(heard.transpose(1, 2).reshape(rows, length, width))
        return out_BLW


class CausalTransformer(nn.Module):
    """Tokens of a text, one after the other, given its embedding.

    The embedding enters as prefix tokens and, in every block and before the output, through
    AdaLN-Zero. Positions are learned. The score of token v at place t is

        ``tokens_v . h_t + gate(h_t) * topic_v . e``

    where the last product asks how well a token fits the text as a whole, and the gate whether such
    a token is due; see :meth:`start_from_tokens`.

    Args:
        settings: of the network.
        dimension: width D of the teacher.
        seed: of the first weights.
    """

    def __init__(self, settings: DecoderNetworkSettings, dimension: int, seed: int = 0) -> None:
        super().__init__()
        width, self.dimension, self.settings = settings.width, dimension, settings
        condition = 2 * width
        self.condition = nn.Linear(dimension, condition)
        self.prefix = nn.Linear(dimension, settings.prefix_tokens * width)
        self.tokens = nn.Embedding(settings.vocabulary, width)
        self.positions_LW = nn.Parameter(
            torch.empty(settings.prefix_tokens + settings.max_tokens, width)
        )
        self.blocks = nn.ModuleList(Block(settings, condition) for _ in range(settings.layers))
        self.modulation = nn.Linear(condition, 2 * width)
        self.topic = nn.Linear(dimension, settings.vocabulary, bias=False)
        self.topic_gate = nn.Linear(width, 1)
        self.dropout = nn.Dropout(settings.dropout)
        self._start(seed)

    def _start(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        depth = math.sqrt(2 * self.settings.layers)
        for name, parameter in self.named_parameters():
            if "modulation" in name or name.endswith("bias"):
                nn.init.zeros_(parameter)
                continue
            std = INIT_STD
            if name.startswith("topic."):
                std = parameter.shape[1] ** -0.5
            elif name.startswith(("condition", "prefix")):
                std = parameter.shape[1] ** -0.5  # its input has numbers of variance 1
                std *= 1.0 if name.startswith("condition") else INIT_STD
            elif name.endswith(("attention_out.weight", "output.weight")):
                std = INIT_STD / depth
            nn.init.normal_(parameter, std=std, generator=generator)

    @torch.no_grad()
    def start_from_tokens(self, token_VD: Tensor) -> None:
        """Let the topic start as the teacher's similarity of a text and each single token.

        Words are near the texts that hold them, also those that no training text holds. The mean
        over all tokens is taken off, and the product is brought to a variance of about 1.

        Args:
            token_VD: the teacher's embedding of each token, of length 1; zeros where it has none,
                and it starts with no say.

        Shapes:
            token_VD: [V, D].
        """
        known_V = token_VD.any(dim=1)
        self.topic.weight.zero_()
        rows_XD = token_VD[known_V]
        rows_XD = F.normalize(rows_XD - rows_XD.mean(dim=0), dim=1)
        self.topic.weight[known_V] = rows_XD.to(self.topic.weight.dtype)

    def forward(self, embedding_BD: Tensor, ids_BL: Tensor) -> Tensor:
        """Scores of every next token, the first included.

        Args:
            embedding_BD: embeddings, of length 1.
            ids_BL: tokens of the texts; what stands behind a text's end changes nothing before it.

        Shapes:
            embedding_BD: [B, D]; ids_BL: [B, L]; result: [B, L + 1, V], place i for token i.
        """
        modulations, prefix_BPW, topic_B1V = self._conditioned(embedding_BD)
        x_BLW = torch.cat([prefix_BPW, self.tokens(ids_BL)], dim=1)
        x_BLW = self.dropout(x_BLW + self.positions_LW[: x_BLW.shape[1]])
        for block, modulation in zip(self.blocks, modulations[:-1], strict=True):
            x_BLW = block(x_BLW, modulation, None)
        heard_BTW = x_BLW[:, self.settings.prefix_tokens - 1 :]
        return self._scores(heard_BTW, modulations[-1], topic_B1V)

    def start(self, embedding_BD: Tensor) -> tuple[Tensor, State]:
        """Scores of the first tokens, and a state to go on from with :meth:`step`.

        Args:
            embedding_BD: embeddings, of length 1.

        Shapes:
            embedding_BD: [B, D]; result: [B, V].
        """
        modulations, prefix_BPW, topic_B1V = self._conditioned(embedding_BD)
        heads, width = self.settings.heads, self.settings.width
        empty = prefix_BPW.new_empty(len(embedding_BD), heads, 0, width // heads)
        state = State(modulations, topic_B1V, [Memory(empty, empty) for _ in self.blocks], 0)
        return self._advance(prefix_BPW, state), state

    def step(self, ids_B: Tensor, state: State) -> Tensor:
        """Scores of the tokens behind ``ids_B``; equal to :meth:`forward` but for rounding.

        Args:
            ids_B: the tokens chosen last.
            state: of the texts before them; it grows.

        Shapes:
            ids_B: [B]; result: [B, V].
        """
        return self._advance(self.tokens(ids_B)[:, None], state)

    def _advance(self, x_BLW: Tensor, state: State) -> Tensor:
        end = state.length + x_BLW.shape[1]
        x_BLW = x_BLW + self.positions_LW[state.length : end]
        state.length = end
        parts = zip(self.blocks, state.modulations[:-1], state.memories, strict=True)
        for block, modulation, memory in parts:
            x_BLW = block(x_BLW, modulation, memory)
        return self._scores(x_BLW[:, -1:], state.modulations[-1], state.topic_B1V)[:, 0]

    def _conditioned(self, embedding_BD: Tensor) -> tuple[list[Tensor], Tensor, Tensor]:
        """Modulations of every block and of the output, the prefix tokens, and the topic."""
        numbers_BD = embedding_BD * math.sqrt(self.dimension)
        condition_B1C = F.silu(self.condition(numbers_BD))[:, None]
        layers: list[nn.Module] = [block.get_submodule("modulation") for block in self.blocks]
        layers.append(self.modulation)
        shape = (-1, self.settings.prefix_tokens, self.settings.width)
        prefix_BPW = self.prefix(numbers_BD).view(shape)
        topic_B1V = self.topic(numbers_BD)[:, None]
        return [layer(condition_B1C) for layer in layers], prefix_BPW, topic_B1V

    def _scores(self, x_BLW: Tensor, modulation_B1M: Tensor, topic_B1V: Tensor) -> Tensor:
        shift, scale = modulation_B1M.chunk(2, dim=2)
        x_BLW = _modulated(x_BLW, shift, scale)
        gate_BL1 = self.topic_gate(x_BLW)
        return torch.addcmul(F.linear(x_BLW, self.tokens.weight), gate_BL1, topic_B1V)


def _modulated(x_BLW: Tensor, shift_B1W: Tensor, scale_B1W: Tensor) -> Tensor:
    return torch.addcmul(shift_B1W, F.layer_norm(x_BLW, x_BLW.shape[-1:]), 1 + scale_B1W)
