"""The student: teacher embedding in, predicted embedding out, through the lattice.

Legend: B batch, D teacher width, S surface width, C channels, N cells.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from latticegraph.config.model import ModelSettings
from latticegraph.dynamics import Dynamics, Intervention, Recorder
from latticegraph.dynamics.dynamics import Rollout
from latticegraph.dynamics.gating import balance
from latticegraph.model.extractor import LatticeToEmbeddingExtractor
from latticegraph.model.mapper import EmbeddingToLatticeMapper
from latticegraph.model.output import StudentOutput
from latticegraph.model.transformer import Projection
from latticegraph.model.volume_init import VolumeStateInitializer

# Cells times samples of a rollout while the readout is fitted, and samples at least. Small cubes
# compute their light cone, on which 256 samples at once take half the time of 32 each; states of
# large ones stay in the CPU's cache only for few samples.
START_CELLS = 2**17
START_BATCH = 32
# Samples that gain and offset of the surface and the scale of the features are measured on where no
# readout is fitted: a mean needs fewer than a regression.
COVARIANCE_ROWS = 16_384
CALIBRATION_SAMPLES = 256


def start_batch(cells: int) -> int:
    """Samples per rollout while the readout is fitted.

    Args:
        cells: of the lattice.
    """
    return max(START_BATCH, START_CELLS // cells)


@dataclass(frozen=True)
class Parts:
    """The modules of a student.

    Attributes:
        transformer: teacher space to surface and back; None: they are the same.
        mapper: writes the surface into cells.
        volume: first states of the other cells.
        dynamics: first states to final states.
        extractor: reads the surface from cells.
    """

    transformer: Projection | None
    mapper: EmbeddingToLatticeMapper
    volume: VolumeStateInitializer
    dynamics: Dynamics
    extractor: LatticeToEmbeddingExtractor


class Student(nn.Module):
    """Dynamics between two projections; :func:`build_student` makes one from settings.

    Equation::

        s = to_surface((e - mean) / std);  x_0 = write(s);  x_T = dynamics(x_0)
        e' = mean + std * (to_teacher(read(x_T)) + R x_T[back])

    On a ``volume`` surface every cell carries one number of the embedding itself and there is no
    projection.

    Args:
        settings: the model section of the configuration.
        teacher_dimension: D.
        surface_width: S.
        parts: projection (None: surface and embedding are the same), mapper, volume initialiser,
            dynamics and extractor.

    Shapes:
        (B, D) -> StudentOutput
    """

    mean_D: Tensor
    target_mean_D: Tensor
    std: Tensor

    def __init__(
        self, settings: ModelSettings, teacher_dimension: int, surface_width: int, parts: Parts
    ) -> None:
        super().__init__()
        self.settings = settings
        self.teacher_dimension = teacher_dimension
        self.surface_width = surface_width
        self.transformer = parts.transformer
        self.mapper = parts.mapper
        self.volume = parts.volume
        self.dynamics = parts.dynamics
        self.extractor = parts.extractor
        self.register_buffer("mean_D", torch.zeros(teacher_dimension))
        self.register_buffer("target_mean_D", torch.zeros(teacher_dimension))
        self.register_buffer("std", torch.ones(()))

    def components(self) -> dict[str, nn.Module]:
        """Parts with parameters, by the name under which gradient norms are logged."""
        parts: dict[str, nn.Module | None] = {
            "transformer": self.transformer,
            "mapper": self.mapper,
            "volume": self.volume,
            **self.dynamics.components(),
            "extractor": self.extractor,
        }
        return {n: m for n, m in parts.items() if m is not None and list(m.parameters())}

    def with_dynamics(self, dynamics: Dynamics) -> Student:
        """A student with the same projections, parameters shared, and other dynamics.

        Args:
            dynamics: in place of its own.
        """
        parts = Parts(self.transformer, self.mapper, self.volume, dynamics, self.extractor)
        other = Student(self.settings, self.teacher_dimension, self.surface_width, parts)
        for name in ("mean_D", "target_mean_D", "std"):
            setattr(other, name, getattr(self, name))
        return other.train(self.training)

    @torch.no_grad()
    def start_from_data(self, source_BD: Tensor, target_BD: Tensor) -> None:
        """Data-driven start: standardisation, PCA directions, and the readout of the lattice.

        Gain and offset of the read surface, and the correction where configured, are fitted in
        closed form to the states that the untrained lattice produces, for
        ``mapper.start_samples`` rows, evenly spread; where the correction starts at zero, for at
        most :data:`CALIBRATION_SAMPLES`.

        Args:
            source_BD: training embeddings that go in.
            target_BD: training embeddings that should come out, row by row.
        """
        self.mean_D.copy_(source_BD.mean(0))
        self.target_mean_D.copy_(target_BD.mean(0))
        # In blocks: a copy in float64 of all rows would take twice their memory.
        covariance_DD = source_BD.new_zeros(source_BD.shape[1], source_BD.shape[1]).double()
        for part_BD in source_BD.split(COVARIANCE_ROWS):
            centred = (part_BD - self.mean_D).double()
            covariance_DD += centred.T @ centred / len(source_BD)
        self.std.copy_(covariance_DD.diagonal().mean().sqrt())
        if self.transformer is not None and self.settings.transformer.init == "pca":
            variances, vectors = torch.linalg.eigh(covariance_DD)
            kept = variances.flip(0)[: self.surface_width].mean().sqrt() / self.std
            self.transformer.start_from(vectors.T.flip(0).to(self.std.dtype), float(kept))
        mapper = self.settings.mapper
        most = mapper.start_samples
        if self.extractor.correction is None or mapper.readout_init == "zeros":
            most = min(most, CALIBRATION_SAMPLES)
        every = -(-len(source_BD) // most)
        self._start_readout(source_BD[::every], target_BD[::every])

    def _start_readout(self, source_BD: Tensor, target_BD: Tensor) -> None:
        wanted_BS = self.encode(source_BD)
        raws, features = [], []
        for part_BS in wanted_BS.split(start_batch(self.dynamics.cells.num_cells)):
            states = self.dynamics.rollout(self._first_states(part_BS), whole=False).states_CNB
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

    def encode(self, embedding_BD: Tensor) -> Tensor:
        """The numbers that enter the lattice: all that it is told of a text.

        Args:
            embedding_BD: teacher embeddings.

        Shapes:
            (B, D) -> (B, S)
        """
        standard_BD = (embedding_BD - self.mean_D) / self.std
        if self.transformer is None:
            return standard_BD
        surface_BS: Tensor = self.transformer.encode(standard_BD)
        return surface_BS

    def _first_states(self, surface_BS: Tensor) -> Tensor:
        states_CNB: Tensor = self.mapper(surface_BS, self.volume(surface_BS))
        return states_CNB

    def project_back(self, code_BS: Tensor) -> Tensor:
        """Embeddings from numbers of the surface by the projection alone, without the lattice.

        Args:
            code_BS: as written into the lattice, or as read from it.

        Shapes:
            code_BS: [B, S]; result: [B, D].
        """
        return self.target_mean_D + self.std * self._decode(code_BS)

    def forward(
        self,
        embedding_BD: Tensor,
        steps: int | None = None,
        recorder: Recorder | None = None,
        interventions: Sequence[Intervention] = (),
        whole: bool = True,
    ) -> StudentOutput:
        """Predict the target embedding of every sample.

        Args:
            embedding_BD: teacher embeddings.
            steps: maximum number of lattice steps; None: the configured one.
            recorder: called after every step; changes nothing.
            interventions: changes of the dynamics.
            whole: False: states of other cells than those read are not needed, and may come back
                as 0; usage and change then describe the cells computed.
        """
        code_BS = self.encode(embedding_BD)
        x_CNB = self._first_states(self.mapper.disturbed(code_BS))
        rollout = self.dynamics.rollout(x_CNB, steps, recorder, interventions, whole)
        return self._output(code_BS, rollout)

    def decode(self, code_BS: Tensor, recorder: Recorder | None = None) -> StudentOutput:
        """The second half of :meth:`forward`: everything behind the bottleneck.

        Args:
            code_BS: of :meth:`encode`, perhaps stored in fewer bits since.
            recorder: called after every step; changes nothing.

        Shapes:
            (B, S) -> StudentOutput
        """
        first_CNB = self._first_states(code_BS)
        rollout = self.dynamics.rollout(first_CNB, recorder=recorder, whole=False)
        return self._output(code_BS, rollout)

    def static(
        self, embedding_BD: Tensor, steps: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Prediction and code alone, by other steps between the same projections.

        Args:
            embedding_BD: teacher embeddings.
            steps: first states (C, N, B) to final states.

        Shapes:
            (B, D) -> (B, D), (B, S)
        """
        code_BS = self.encode(embedding_BD)
        _, prediction_BD = self._read(steps(self._first_states(code_BS)))
        return prediction_BD, code_BS

    def _read(self, states_CNB: Tensor) -> tuple[Tensor, Tensor]:
        """Numbers of the output face, and the prediction."""
        surface_BS, correction_BD = self.extractor(states_CNB)
        standard_BD = self._decode(surface_BS)
        if correction_BD is not None:
            standard_BD = standard_BD + correction_BD
        return surface_BS, self.target_mean_D + self.std * standard_BD

    def _output(self, code_BS: Tensor, rollout: Rollout) -> StudentOutput:
        surface_BS, prediction_BD = self._read(rollout.states_CNB)
        return StudentOutput(
            embedding_BD=prediction_BD,
            code_BS=code_BS,
            surface_BS=surface_BS,
            states_CNB=rollout.states_CNB,
            usage_NX=rollout.usage_XN.t(),
            change_T=rollout.change_T,
            steps_B=rollout.steps_B,
            gate_balance=balance(rollout.usage_XN),
            gate_z=rollout.z,
        )
