from __future__ import annotations

import pytest
import torch

from trlt.engine import shared_prefix
from trlt.engine.inputs import InputBuilder
from trlt.engine.shared_prefix import Group, attach, collate


@pytest.fixture
def model(tiny):
    attach(tiny.model)
    return tiny.model.train()


@pytest.fixture
def groups(tiny, noise_clip):
    """Three groups with ragged prompts, clips and completions; the last clip is longer than its text, counted in positions."""
    builder = InputBuilder(tiny.model, tiny.processor)
    generator = torch.Generator().manual_seed(0)
    made = []
    for g, frames in enumerate((4, 10, 6)):
        clip = builder.clip(noise_clip(frames=frames, seed=g, fps=(1.5, 2.5, 0.02)[g]))
        prompt = builder.prompt("sys", "what is shown " * (1 + 3 * g), clip)
        lengths = torch.randint(1, 12, (8,), generator=generator).tolist()
        completions = tuple(tuple(torch.randint(0, 300, (n,), generator=generator).tolist()) for n in lengths)
        made.append(Group(clip, prompt, completions))
    return made


def masks(groups, width):
    return torch.tensor([[t < len(c) for t in range(width)] for g in groups for c in g.completions])


def by_the_library(model, group, temperature=1.0):
    """Log-probabilities of each completion from the library's own forward on the full sequence, video included."""
    rows = []
    video = model.config.video_token_id
    for tokens in group.completions:
        ids = torch.cat([group.prompt.prefix, group.prompt.suffix, torch.tensor(tokens)])[None]
        logits = model(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            pixel_values_videos=group.clip.pixels,
            video_grid_thw=group.clip.grid,
            second_per_grid_ts=torch.tensor([group.clip.seconds_per_grid]),
            mm_token_type_ids=(ids == video).int() * 2,
        ).logits
        logps = (logits[0, -len(tokens) - 1 : -1] / temperature).log_softmax(-1)
        rows.append(logps.gather(-1, torch.tensor(tokens)[:, None])[:, 0])
    return rows


FORMS = {"blocks": {}, "flex": {"attention": "flex"}, "full": {"full": True}}
on_gpu = (pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))
unfused = pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")


@unfused
@pytest.mark.parametrize("form", FORMS)
def test_log_probabilities_equal_the_librarys_full_sequences(model, groups, form):
    batch = collate(groups, **FORMS[form])
    with torch.set_grad_enabled(form != "flex"):  # which has no backward pass on the CPU
        out = model(tree=batch, temperature=0.9)
    assert out.logps.shape == (24, batch.completions.shape[2])
    expected = [row for group in groups for row in by_the_library(model, group, 0.9)]
    for mine, theirs in zip(out.logps, expected, strict=True):
        assert torch.allclose(mine[: len(theirs)], theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("form", ["blocks", pytest.param("flex", marks=on_gpu)])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_equal_those_of_full_sequences(model, groups, checkpointing, form):
    if form == "flex":
        model = model.cuda()
    if checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
    weights = torch.randn(24, 11, generator=torch.Generator().manual_seed(1))

    def gradients(batch):
        model.zero_grad()
        logps = model(tree=batch.to(model.device)).logps.cpu()
        mask = masks(groups, logps.shape[1])
        (logps * mask * weights[:, : logps.shape[1]]).sum().backward()
        return {name: p.grad.clone() for name, p in model.named_parameters()}

    tree, full = gradients(collate(groups, **FORMS[form])), gradients(collate(groups, full=True))
    assert all(g.abs().sum() > 0 for name, g in full.items() if "visual" in name and "weight" in name)
    for name, reference in full.items():
        assert (tree[name] - reference).norm() <= 1e-4 * reference.norm() + 1e-7, name


def test_logits_in_chunks_give_what_all_at_once_give(model, groups, monkeypatch):
    """As many tokens as the budget of bytes allows for the vocabulary, whatever the results."""
    vocabulary = model.lm_head.out_features
    assert shared_prefix.chunk_tokens(152_064) == 411 and shared_prefix.chunk_tokens(10**9) == 1
    found = []
    for budget in (shared_prefix.CHUNK_BYTES, 7 * 16 * vocabulary):
        monkeypatch.setattr(shared_prefix, "CHUNK_BYTES", budget)
        sizes = []
        hook = model.lm_head.register_forward_pre_hook(lambda module, args, sizes=sizes: sizes.append(len(args[0])))
        model.zero_grad()
        out = model(tree=collate(groups), temperature=0.9)
        hook.remove()
        out.logps.sum().backward()
        found.append((out, {name: p.grad.clone() for name, p in model.named_parameters()}, sizes))
    (whole, gradients, once), (parts, others, sizes) = found
    assert len(once) == 1 and set(sizes[:-1]) == {7} and 0 < sizes[-1] <= 7 and sum(sizes) == once[0]
    assert torch.allclose(whole.logps, parts.logps, atol=1e-5) and torch.allclose(whole.entropies, parts.entropies, atol=1e-5)
    for name, gradient in gradients.items():
        assert (others[name] - gradient).norm() <= 1e-5 * gradient.norm() + 1e-7, name


def test_padding_and_neighbours_change_nothing(model, groups):
    together = model(tree=collate(groups, length=17)).logps
    for g, group in enumerate(groups):
        alone = model(tree=collate([group])).logps
        width = alone.shape[1]
        mask = masks([group], width)
        assert torch.allclose(together[8 * g : 8 * g + 8, :width][mask], alone[mask], atol=1e-5, rtol=0)


def test_groups_are_packed_without_padding(model, groups):
    shapes = []
    model.model.language_model.register_forward_pre_hook(
        lambda module, args, kwargs: shapes.append(tuple(kwargs["inputs_embeds"].shape[:2])), with_kwargs=True
    )
    scored = []
    model.lm_head.register_forward_pre_hook(lambda module, args: scored.append(args[0].shape[0]))
    with torch.no_grad():
        model(tree=collate(groups))
    prompts = sum(len(g.prompt.prefix) + len(g.prompt.suffix) for g in groups)
    tokens = sum(len(c) for g in groups for c in g.completions)
    assert shapes == [(1, prompts + tokens)] and scored == [tokens]


def test_siblings_do_not_see_each_other(model, groups):
    group = groups[0]
    base = model(tree=collate([group], length=12)).logps
    changed = Group(group.clip, group.prompt, (*group.completions[:7], (5, 6, 7, 8)))
    other = model(tree=collate([changed], length=12)).logps
    mask = masks([group], 12)[:7]
    assert torch.equal(base[:7][mask], other[:7][mask])


def test_the_true_rate_reaches_training(model, tiny, noise_clip):
    builder = InputBuilder(tiny.model, tiny.processor)
    seen = []
    for fps in (1.0, 2.0):
        clip = builder.clip(noise_clip(frames=8, fps=fps))
        seen.append(model(tree=collate([Group(clip, builder.prompt("", "q", clip), ((1, 2, 3), (4, 5)))])).logps)
    assert not torch.allclose(seen[0], seen[1], atol=1e-4)


def test_entropies(model, groups):
    out = model(tree=collate(groups[:1]))
    vocabulary = model.config.text_config.vocab_size
    assert not out.entropies.requires_grad
    entropies = out.entropies[masks(groups[:1], out.entropies.shape[1])]
    assert ((entropies > 0) & (entropies <= torch.log(torch.tensor(float(vocabulary))) + 1e-5)).all()


def test_the_plain_forward_still_works(model):
    ids = torch.tensor([[1, 2, 3]])
    assert model(input_ids=ids).logits.shape[:2] == (1, 3)
