"""`--server` of every command that has it, against the real vLLM: the same rows as the engine's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from paths import ROOT
from real_cases import AT_THEIR_RATES, CLIPS, ENGINE, LIKELIEST, sets
from real_server import RealServer, needs_vllm

from trlt.engine.families import FAMILIES
from trlt.engine.forest import Engine, PromptRequest, Tree
from trlt.engine.model import load
from trlt.engine.sampling import Sampling
from trlt.engine.servers.messages import Videos, question
from trlt.engine.shared_prefix import Group, attach, collate, forward
from trlt.errors import ServerError
from trlt.files.server_call import ServerAddress, call
from trlt.lab.miniature import layout
from trlt.recipe import Model, shipped
from trlt.rollout import read_rows
from trlt.task.sample import read_samples, write_samples
from trlt.video.clip import Clip

pytestmark = [needs_vllm, pytest.mark.slow]

PROMPT_S = 180
"""Within so much a run ends whose server is gone, on a busy machine, too; the pool itself waits 20 s for one."""
BENCHES = ("charades", "nextgqa", "mvbench", "tempcompass")


@pytest.fixture(scope="module")
def servers(start) -> dict[str, RealServer]:
    """One in float32 and one in BF16, which start side by side."""
    return {dtype: start(dtype=dtype) for dtype in ("float32", "bfloat16")}


@pytest.fixture
def server(servers) -> RealServer:
    return servers["float32"].wait()


def asked(server: RealServer) -> list[str]:
    """Arguments of a command that asks a server; its model is the one that is served."""
    return ["--server", server.url, "--model", "served", *sets("video.workers=0")]


def test_probe_gives_the_engines_rows(trlt, server, questions, tmp_path):
    wanted = [*AT_THEIR_RATES, *sets(section="probe", max_new_tokens=24, **LIKELIEST)]
    common = ("probe", "--data", questions, "--videos", questions.parent, "-n", 2, *wanted, "--json")
    trlt(*common, *ENGINE, "--out", "engine")
    told = trlt(*common, *asked(server), "--out", "server")
    assert told["summary"]["rows"] == 3 * len(CLIPS) and told["summary"]["errors"] == 0
    ours, theirs = (list(read_rows(tmp_path / side / "rows" / "probe.jsonl")) for side in ("engine", "server"))
    assert theirs == ours
    assert {row["video_tokens"] for row in ours} > {4, 264} and len({text for row in ours for text in row["texts"]}) > len(
        CLIPS
    )
    assert {done for row in ours for done in row["finished"]} == {True, False}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_probe_draws_eight_answers_of_each(trlt, servers, questions, tmp_path, dtype):
    server = servers[dtype].wait()
    wanted = [*AT_THEIR_RATES, *sets(section="probe", max_new_tokens=24)]
    told = trlt(
        "probe", "--data", questions, "--videos", questions.parent, "-n", 8, *wanted, *asked(server), "--out", "p", "--json"
    )
    rows = list(read_rows(tmp_path / "p" / "rows" / "probe.jsonl"))
    assert told["summary"]["errors"] == 0 and len(rows) == 3 * len(CLIPS)
    assert told["summary"]["tokens"] == sum(sum(row["tokens"]) for row in rows)
    for row in rows:
        assert row["n"] == len(row["texts"]) == len(row["tokens"]) == 8 and all(1 <= count <= 24 for count in row["tokens"])
        assert all(done or count == 24 for done, count in zip(row["finished"], row["tokens"], strict=True))
    assert sum(len(set(row["texts"])) > 1 for row in rows) > len(rows) / 2, "drawn, and each from a seed of its own"


def test_eval_gives_the_engines_results(trlt, server, tmp_path):
    recipe = shipped()["miniature"].read_text(encoding="utf-8").replace("runs/demo", str(tmp_path))
    (tmp_path / "recipe.yaml").write_text(recipe, encoding="utf-8")
    layout.write(tmp_path / "data", scale=0.01, bench_scale=0.2)
    common = ("eval", *(word for name in BENCHES for word in ("--bench", name)), "--recipe", tmp_path / "recipe.yaml")
    likeliest = sets(section="eval", **LIKELIEST)
    trlt(*common, *ENGINE, *likeliest, "--out", "engine", "--json")
    told = trlt(*common, *asked(server), *likeliest, "--out", "server", "--json")
    assert told["benchmarks"].keys() == set(BENCHES)
    for name in BENCHES:
        files = [tmp_path / side / "rows" / f"{name}.jsonl" for side in ("engine", "server")]
        ours, theirs = (list(read_rows(file)) for file in files)
        assert theirs == ours and len(ours) > 20, name
    results = [json.loads((tmp_path / side / "results.json").read_text()) for side in ("engine", "server")]
    assert results[0] == results[1] and results[0]["benchmarks"]["nextgqa"]["n"] > 20


def test_infer_gives_the_engines_answer(trlt, server, questions):
    video = questions.parent / "5.mp4"
    options = ("--option", "red circle", "--option", "blue square", "--option", "green triangle")
    for words in (("what turns blue", *options, "--task", "grounded_qa"), ("a green triangle is shown",)):
        common = ("infer", video, *words, *AT_THEIR_RATES, *sets(section="eval", **LIKELIEST), "--json")
        ours, theirs = trlt(*common, *ENGINE), trlt(*common, *asked(server))
        assert theirs["text"] == ours["text"] and theirs["answer"] == ours["answer"]


def test_infer_on_samples_gives_the_engines_rows(trlt, server, questions, tmp_path):
    common = ("infer", questions, "--videos", questions.parent, *AT_THEIR_RATES, *sets(section="eval", **LIKELIEST))
    trlt(*common, *ENGINE, "--out", "engine.jsonl", "--json")
    trlt(*common, *asked(server), "--out", "server.jsonl", "--json")
    ours, theirs = (list(read_rows(tmp_path / f"{side}.jsonl")) for side in ("engine", "server"))
    assert theirs == ours and len(ours) == 3 * len(CLIPS)


def draw(server: RealServer, clip: Clip, asked: PromptRequest, top_p: float) -> list[tuple[tuple[int, ...], list[float]]]:
    """Token ids and their log-probabilities of what a server draws at temperature 1."""
    video, sampling = Videos(clip).of("vllm"), Sampling(1.0, top_p, 16)
    body = question("vllm", "served", asked, clip, video, sampling, family=FAMILIES[0], n=asked.n, seed=1)
    told = body | {"logprobs": True, "top_logprobs": 0}
    found = call(ServerAddress.parse(server.url), "/v1/chat/completions", key=None, timeout_s=120, body=told)["choices"]
    return [(tuple(one["token_ids"]), [token["logprob"] for token in one["logprobs"]["content"]]) for one in found]


@pytest.mark.parametrize(("dtype", "largest", "mean"), [("float32", 1e-4, 1e-5), ("bfloat16", 0.25, 0.02)])
def test_log_probabilities_are_the_engines(servers, noise_clip, dtype, largest, mean):
    """Of what the server draws at temperature 1, and of the likeliest, whose log-probabilities the engine tells itself."""
    server = servers[dtype].wait()
    loaded = load(Model(path="miniature", dtype=dtype, device="cpu"))
    attach(loaded.model)
    engine = Engine(loaded.model, loaded.processor)
    drawn, likeliest = list[float](), list[float]()
    for seed, (frames, fps) in enumerate(((8, 2.0), (40, 1.37), (6, 0.5), (16, 5.0))):
        clip, asked = noise_clip(frames=frames, fps=fps, seed=seed), PromptRequest(f"{seed}", "Answer.", "what moves left", 4)
        found = draw(server, clip, asked, 1.0)
        inputs = engine.builder.clip(clip)
        group = Group(inputs, engine.builder.prompt(asked.system, asked.user, inputs), tuple(tokens for tokens, _ in found))
        scored = forward(loaded.model, collate([group])).logps.tolist()
        for (tokens, told), row in zip(found, scored, strict=True):
            drawn += [abs(a - b) for a, b in zip(told, row[: len(tokens)], strict=True)]
        once = replace(asked, n=1)
        [(tokens, told)] = draw(server, clip, once, 0.001)
        [[[own]]] = engine.generate([Tree(clip, (once,))], Sampling(1.0, 0.001, 16))
        assert own.tokens == tokens or dtype == "bfloat16"
        # In BF16 two tokens may be equally likely; up to there both wrote the same.
        alike = next((k for k, (a, b) in enumerate(zip(own.tokens, tokens, strict=False)) if a != b), len(tokens))
        likeliest += [abs(a - b) for a, b in zip(own.logps[:alike], told[:alike], strict=True)]
    assert len(drawn) > 100 and len(likeliest) > 10
    for gaps in (drawn, likeliest):
        assert max(gaps) <= largest and sum(gaps) / len(gaps) <= mean


def test_an_engine_that_dies_ends_the_run_and_a_new_one_goes_on(server, questions, tmp_path):
    samples = [replace(sample, id=f"{sample.id}, {k}") for k in range(5) for sample in read_samples(questions)]
    write_samples(tmp_path / "many.jsonl", samples)
    wanted = [*AT_THEIR_RATES, *sets(section="probe", max_new_tokens=100), *asked(server)]
    data = ["--data", "many.jsonl", "--videos", str(questions.parent), "-n", "8", "--out", "p"]
    command, place = [sys.executable, "-m", "trlt", "probe", *data, *wanted], {"cwd": tmp_path, "text": True}
    env, file = os.environ | {"PYTHONPATH": str(ROOT)}, tmp_path / "p" / "rows" / "probe.jsonl"

    def written() -> list[dict]:
        return list(read_rows(file)) if file.exists() else []

    with subprocess.Popen(command, **place, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as run:
        while len(written()) < 10:
            assert run.poll() is None, run.stderr.read()
            time.sleep(0.1)
        [engine] = server.children("EngineCore")
        os.kill(engine, signal.SIGKILL)
        try:
            _, said = run.communicate(timeout=PROMPT_S)
        finally:
            run.kill()
    assert run.returncode == ServerError.exit_code and "Traceback" not in said
    error = said.partition("error: ")[2]
    assert server.url in error and "EngineCore encountered an issue" in error and "run the command again" in error
    kept = written()
    assert 10 <= len(kept) < len(samples) and not [row for row in kept if row["error"]]
    server.stop()
    server.start()
    server.wait()
    subprocess.run(command, **place, env=env, check=True, capture_output=True)
    done = {row["id"]: row for row in written()}
    assert list(done) == [sample.id for sample in samples] and not [row for row in done.values() if row["error"]]
    assert [done[row["id"]] for row in kept] == kept, "not asked again"
