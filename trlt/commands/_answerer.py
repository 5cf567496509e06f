"""Who answers a command's questions in place of a model of its process: servers that are there, or vLLM that it starts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trlt.commands._output import Output
from trlt.commands.launch.ranks import Rank
from trlt.engine.model import locate
from trlt.errors import UsageError
from trlt.errors.faults import fault_of
from trlt.recipe import Recipe
from trlt.rollout import QuestionSet, WorkFiles, model_identity
from trlt.task.prompt import Prompt

if TYPE_CHECKING:
    from trlt.engine.servers.client import Servers
    from trlt.engine.vllm.servers import OwnServers


def check_answerer(servers: Sequence[str], count: int | None, processes: int = 0, rank: Rank | None = None) -> None:
    """Refuses options that don't work with `--server` or `--vllm`, before any work.

    Raises:
        UsageError: both, several processes, or, where servers are to be started, a launcher.
    """
    if servers and processes > 1:
        raise UsageError("--processes: servers are asked side by side by one process; leave it out with --server")
    if count is None:
        return
    if servers:
        raise UsageError("--vllm and --server: one starts servers, the other names some that are there; leave one out")
    if processes > 1:
        raise UsageError(
            "--processes: one process asks the servers that --vllm starts; leave it out, and give their number there"
        )
    if rank:
        raise UsageError("--vllm: one process starts the servers and asks them; start it without a launcher")


def own_servers(
    count: int | None,
    recipe: Recipe,
    sets: Sequence[QuestionSet],
    output: Output,
    *,
    log: Callable[[int], Path] | None = None,
) -> OwnServers | None:
    """The vLLM servers of `--vllm`, not started yet; None without it.

    Args:
        count: How many; 0: one per GPU.
        recipe: As resolved.
        sets: All that will be asked.
        output: Gets notes of their start.
        log: As `OwnServers` takes it.

    Raises:
        UsageError: more than there are GPUs.
        ModelError: no vLLM that can be used, or a model that it can't answer for.
    """
    if count is None:
        return None
    from trlt.engine.vllm.server_plan import plan_servers
    from trlt.engine.vllm.servers import OwnServers

    prompts = list[Prompt]()
    for one in sets:
        for sample in one.samples:
            try:
                prompts.append(one.grader.form.prompt(sample))
            except Exception as error:  # of this question alone, which gets a row with its error later
                fault_of(error)
    python = recipe.train.vllm.python
    video = max((one.video for one in sets), key=lambda video: video.max_tokens)
    longest = max(one.settings.max_new_tokens for one in sets)
    plan = plan_servers(recipe.model, video, prompts, longest, count=count, python=python)
    return OwnServers(plan, log, output.note)


def start_for(own: OwnServers | None, files: WorkFiles, *, retry_errors: bool) -> None:
    """Has servers started unless all rows are there: before the progress, whose rate would count the minutes it takes."""
    if own is None:
        return
    from trlt.rollout.estimate.probe_cost import pending_rows

    if pending_rows(files, retry_errors=retry_errors):
        own.start()


def identity_of(servers: Servers | None, recipe: Recipe) -> dict[str, Any]:
    """The model's identity in a manifest: of weights, or the name at servers whose weights can't be seen."""
    return servers.identity() if servers else model_identity(locate(recipe.model.path))


def sampler_of(own: OwnServers | None) -> dict[str, Any] | None:
    """What draws the answers, for a manifest; None: the engine, or servers of whatever kind."""
    return own.describe() if own else None


def named(servers: Servers | None, urls: Sequence[str], own: OwnServers | None, recipe: Recipe) -> str:
    """The model, for a note."""
    if servers:
        return f"{servers.model} at {', '.join(urls)}"
    return f"{recipe.model.path} in vLLM" if own else recipe.model.path
