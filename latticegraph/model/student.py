"""The student: teacher embedding in, predicted embedding out, through the lattice.

Legend: B batch, D teacher width, S surface width, C channels, N cells.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from latticegraph.config.model import ModelSettings
from latticegraph.errors import ConfigError
from latticegraph.lattice import LatticeGraph, check_reach
from latticegraph.model.extractor import LatticeToEmbeddingExtractor
from latticegraph.model.gating import balance
from latticegraph.model.lattice3d import Lattice3D
from latticegraph.model.mapper import EmbeddingToLatticeMapper
from latticegraph.model.output import StudentOutput
from latticegraph.model.transformer import EmbeddingTransformer
from latticegraph.model.volume_init import VolumeStateInitializer

# Samples per rollout while the readout is fitted. States of few samples stay in the CPU's cache: on
# the 8 x 8 x 8 cube 32 take 0.6 of the time that 128 take.
START_BATCH = 32


class Student(nn.Module):
    """A lattice between two projections.

    Equation::

        s = to_surface((e - mean) / std);  x_0 = write(s);  x_T = Lattice3D(x_0)
        e' = mean + std * (to_teacher(read(x_T)) + R x_T[back])

    On a ``volume`` surface every cell carries one number of the embedding itself and there is no
    projection.

    Args:
        settings: the model section of the configuration.
        graph: the lattice.
        teacher_dimension: D.
        seed: of all parameters; the global random state is left as it was.
        batch: samples per forward pass, for the choice of ``auto`` aggregation.
        device: ``cpu`` or ``cuda``, likewise.

    Shapes:
        (B, D) -> StudentOutput

    Raises:
        GraphError: when the output face cannot be reached within the configured steps.
        ConfigError: when a volume surface does not have D cells.
    """

    def __init__(
        self,
        settings: ModelSettings,
        graph: LatticeGraph,
        teacher_dimension: int,
        seed: int = 0,
        batch: int = 64,
        device: str = "cpu",
    ) -> None:
        super().__init__()
        if settings.dynamics.mode == "lattice":
            check_reach(graph.settings, settings.dynamics.steps)
        self.settings = settings
        self.slab = graph.slab
        self.surface_width = graph.written_cells.numel() * settings.surface_channels
        self.teacher_dimension = teacher_dimension
        is_volume = graph.settings.surface == "volume"
        if is_volume and self.surface_width != teacher_dimension:
            raise ConfigError(
                "lattice.dimensions",
                f"expected {teacher_dimension} cells for surface 'volume', got "
                f"{self.surface_width}",
                "Change lattice.dimensions or the teacher",
            )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + settings.init.seed)
            self.transformer = (
                None
                if is_volume
                else EmbeddingTransformer(
                    settings.transformer, teacher_dimension, self.surface_width
                )
            )
            self.mapper = EmbeddingToLatticeMapper(settings, graph)
            self.volume = VolumeStateInitializer(
                settings.mapper,
                graph,
                settings.state_channels,
                self.surface_width,
                settings.init.gain,
            )
            self.dynamics = Lattice3D(settings, graph, batch, device)
            self.extractor = LatticeToEmbeddingExtractor(settings, graph, teacher_dimension)
        self.register_buffer("mean_D", torch.zeros(teacher_dimension))
        self.register_buffer("target_mean_D", torch.zeros(teacher_dimension))
        self.register_buffer("std", torch.ones(()))
        self.mean_D: Tensor
        self.target_mean_D: Tensor
        self.std: Tensor

    @torch.no_grad()
    def start_from_data(self, source_BD: Tensor, target_BD: Tensor) -> None:
        """Data-driven start: standardisation, PCA directions, and the readout of the lattice.

        Gain and offset of the read surface, and the correction where configured, are fitted in
        closed form to the states that the untrained lattice produces, for
        ``mapper.start_samples`` rows, evenly spread.

        Args:
            source_BD: training embeddings that go in.
            target_BD: training embeddings that should come out, row by row.
        """
        self.mean_D.copy_(source_BD.mean(0))
        self.target_mean_D.copy_(target_BD.mean(0))
        centred = (source_BD - self.mean_D).double()
        self.std.copy_(centred.square().mean().sqrt())
        if self.transformer is not None and self.settings.transformer.init == "pca":
            variances, vectors = torch.linalg.eigh(centred.T @ centred / len(centred))
            kept = variances.flip(0)[: self.surface_width].mean().sqrt() / self.std
            self.transformer.start_from(vectors.T.flip(0).to(self.std.dtype), float(kept))
        every = -(-len(source_BD) // self.settings.mapper.start_samples)
        self._start_readout(source_BD[::every], target_BD[::every])

    def _start_readout(self, source_BD: Tensor, target_BD: Tensor) -> None:
        wanted_BS = self._surface(source_BD)
        raws, features = [], []
        for part_BS in wanted_BS.split(START_BATCH):
            states = self.dynamics.rollout(self._first_states(part_BS)).states_CNB
            raws.append(self.extractor.raw_surface(states))
            if self.extractor.correction is not None:
                features.append(self.extractor.raw_features(states))
        raw_BS = torch.cat(raws)
        self.extractor.calibrate(raw_BS, wanted_BS)
        if not features:
            return
        features_BF = self.extractor.standardise(torch.cat(features))
        if self.settings.mapper.readout_init == "ridge":
            surface_BS = raw_BS * self.extractor.gain + self.extractor.offset
            residual_BD = (target_BD - self.target_mean_D) / self.std - self._decode(surface_BS)
            self.extractor.fit_correction(features_BF, residual_BD)

    def _decode(self, surface_BS: Tensor) -> Tensor:
        if self.transformer is None:
            return surface_BS
        standard_BD: Tensor = self.transformer.decode(surface_BS)
        return standard_BD

    def _surface(self, embedding_BD: Tensor) -> Tensor:
        standard_BD = (embedding_BD - self.mean_D) / self.std
        if self.transformer is None:
            return standard_BD
        surface_BS: Tensor = self.transformer.encode(standard_BD)
        return surface_BS

    def _first_states(self, surface_BS: Tensor) -> Tensor:
        states_CNB: Tensor = self.mapper(surface_BS, self.volume(surface_BS))
        return states_CNB

    def forward(
        self, embedding_BD: Tensor, steps: int | None = None, record: bool = False
    ) -> StudentOutput:
        """Predict the target embedding of every sample.

        Args:
            embedding_BD: teacher embeddings.
            steps: maximum number of lattice steps; None: the configured one.
            record: keep the trajectory of all states.
        """
        x_CNB = self._first_states(self._surface(embedding_BD))
        rollout = self.dynamics.rollout(x_CNB, steps, record)
        surface_BS, correction_BD = self.extractor(rollout.states_CNB)
        standard_BD = self._decode(surface_BS)
        if correction_BD is not None:
            standard_BD = standard_BD + correction_BD
        return StudentOutput(
            embedding_BD=self.target_mean_D + self.std * standard_BD,
            surface_BS=surface_BS,
            states_CNB=rollout.states_CNB,
            usage_NX=rollout.usage_XN.t(),
            change_T=rollout.change_T,
            steps_B=rollout.steps_B,
            gate_balance=balance(rollout.usage_XN),
            gate_z=rollout.z,
            trajectory_TCNB=rollout.trajectory_TCNB,
        )
