"""What draws a step's completions, with the policy's weights: the engine, on the policy or on a whole copy of it, or vLLM.

Knows models and how they are sharded; neither samples' rewards nor losses.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trlt.engine.features import FeatureCache, FrozenTower
from trlt.engine.forest import Engine
from trlt.engine.model import LoadedModel
from trlt.engine.shared_prefix import attach
from trlt.engine.vllm import VllmSampler
from trlt.errors import DataError, ParityError
from trlt.recipe import Recipe
from trlt.train.trainer import TrainingData


class RolloutPolicy:
    """The engine of a training, vLLM where it draws, and the weights that they draw with.

    Args:
        loaded: The policy, with `shared_prefix.attach` done, its processor, and the whole copy where weights are sharded.
        policy: The model as it is trained, without what accelerate puts around it; adapters may be around it.
        training_data: Samples, and access to their clips.
        recipe: The resolved recipe.
        exact: Whether draws are to be independent of the batch; None for what the weights' precision allows.
        log: File of vLLM's output.
        tells: Whether this process is the one that tells users of what begins.

    Raises:
        ModelError: vLLM is requested but not available, or doesn't start.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        policy: Any,
        training_data: TrainingData,
        recipe: Recipe,
        *,
        exact: bool | None,
        log: Path,
        tells: bool,
    ) -> None:
        self.base, self._whole = base_of(policy), loaded.whole
        self._training_data, self._recipe = training_data, recipe
        if self._whole:
            # The engine prepares the model that it is made with. Under sharding it draws with
            # this copy, which has to take branches, too, and trees for the check of vLLM.
            attach(self._whole.model)
        self.engine = Engine(self.base, loaded.processor, exact=exact)
        self.tower = self._frozen_tower()
        self.vllm: VllmSampler | None = None
        if recipe.train.rollouts == "vllm":
            if training_data.on_event and tells:
                training_data.on_event(f"train: starting vLLM, which may take minutes; its log is {log}")
            self.vllm = VllmSampler(self.engine, loaded.path, recipe, self._texts(), log)

    @contextlib.contextmanager
    def synced(self, step: int) -> Iterator[None]:
        """Gives the engine, and vLLM where it draws, the policy's weights as they are now; all processes come here together.

        Where the weights are sharded, what draws is a whole copy of them in the precision that is computed in; else it is the
        policy itself, float32 under autocast.

        Args:
            step: Steps that are done.

        Raises:
            ParityError: a weight of the copy isn't the policy's. Log-probabilities in BF16 wouldn't show a small difference.
        """
        with contextlib.ExitStack() as ready:
            model = ready.enter_context(self._whole.filled(self.base)) if self._whole else self.base
            if self._whole and (strays := self._whole.strays(self.base)):
                raise ParityError(
                    f"step {step}: {len(strays)} weights that draw completions aren't those that are trained "
                    f"({strays[0]} for one); this is a bug worth a report, and train.launch.strategy: ddp goes without a copy, "
                    "in a new run (--fresh)"
                )
            self.engine.model = model
            if self.vllm:
                ready.enter_context(self.vllm.awake(model))
            yield

    def close(self) -> None:
        """Ends what runs beside this process."""
        if self.vllm:
            self.vllm.close()

    def _frozen_tower(self) -> FrozenTower | None:
        """The frozen vision tower with its feature folder; None if it is trained."""
        train = self._recipe.train
        if not train.tower_is_frozen:
            return None

        def made(model: Any, store: FeatureCache | None) -> FrozenTower:
            return FrozenTower(model, self._training_data.builder, lambda clip: self.engine.encode(clip), store)

        if train.features is None:
            return made(self.base, None)
        store = FeatureCache(train.features, int(train.features_gb * 1e9))
        with self._whole.filled(self.base) if self._whole else contextlib.nullcontext(self.base) as model:
            return made(model, store)

    def _texts(self) -> list[Any]:
        """The prompts of all samples, for vLLM's limits."""
        texts, form = [], self._recipe.form("train")
        for sample in self._training_data.samples:
            with contextlib.suppress(DataError):  # one that can't be asked is told when its turn comes
                texts.append(form.prompt(sample))
        return texts


def base_of(model: Any) -> Any:
    """The model itself, within its adapters where it has some."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model
