"""An adapter merged into its base, and `trlt train` with its subcommands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import pytest
import torch
import typer
from typer.testing import CliRunner

from trlt.commands._default import DefaultGroup
from trlt.commands._output import Output
from trlt.commands.merge import merge
from trlt.engine.model import load
from trlt.errors import ModelError, UsageError
from trlt.recipe import Model

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")


@pytest.fixture
def quiet() -> Output:
    return Output(json_mode=True)


def adapt(model: Any, folder: Path) -> Any:
    """Random adapters on the language model's attention, saved to a folder; gives the model with them."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    config = LoraConfig(
        r=4, lora_alpha=8, target_modules=r".*language_model\..*\.(q_proj|v_proj|up_proj)", init_lora_weights=False
    )
    wrapped = get_peft_model(model, config)
    wrapped.save_pretrained(folder)
    return wrapped


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=torch.arange(20)[None] + 5).logits


@pytest.fixture
def adapter(tiny: Any, tmp_path: Path) -> tuple[Path, Any]:
    """The adapter's folder, and what base and adapter say together."""
    base = logits(tiny.model)
    said = logits(adapt(tiny.model, tmp_path / "adapter"))
    assert (said - base).abs().max() > 0.01, "an adapter that changes something"
    return tmp_path / "adapter", said


def change(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_the_merged_model_says_what_base_and_adapter_say(adapter, quiet, tiny_path, tmp_path):
    folder, said = adapter
    found = merge(folder, out=tmp_path / "merged", output=quiet)
    assert found == {
        "model": str(tmp_path / "merged"),
        "adapter": str(folder),
        "base": str(tiny_path),
        "dtype": "float32",
    }
    merged = load(Model(path=str(tmp_path / "merged"), dtype="float32", device="cpu"))
    assert (logits(merged.model) - said).abs().max() < 1e-5
    assert not any("lora" in name for name in merged.model.state_dict())
    names = {path.name for path in (tmp_path / "merged").iterdir()}
    assert "model.safetensors" in names and "README.md" in names and not any("adapter" in name for name in names)
    card = (tmp_path / "merged" / "README.md").read_text()
    assert f"base_model: {tiny_path}" in card and "library_name: transformers" in card and "\n# merged\n" in card
    drawn = json.loads((tmp_path / "merged" / "generation_config.json").read_text())
    assert {key: drawn[key] for key in ("temperature", "top_p", "top_k")} == {"temperature": 0.01, "top_p": 0.001, "top_k": 0}
    assert not (tmp_path / ".merged.partial").exists()
    with pytest.raises(UsageError, match="--out: .*merged is there already"):
        merge(folder, out=tmp_path / "merged", output=quiet)


def test_a_card_of_ours_stays_and_a_base_in_bf16_stays_so(adapter, quiet, tiny, tiny_path, tmp_path):
    from trlt.engine.model import save

    folder, _ = adapter
    (folder / "README.md").write_text("# mine\n<!-- results -->\n42\n<!-- end of results -->\n")
    half = load(Model(path=str(tiny_path), dtype="bfloat16", device="cpu"))
    save(half.model, half.processor, tmp_path / "half")
    found = merge(folder, base=str(tmp_path / "half"), out=tmp_path / "merged", output=quiet)
    assert found["dtype"] == "bfloat16" and found["base"] == str(tmp_path / "half")
    assert (tmp_path / "merged" / "README.md").read_text().startswith("# mine")
    assert json.loads((tmp_path / "merged" / "config.json").read_text())["dtype"] == "bfloat16"


def test_a_folder_that_is_no_adapter_is_refused(adapter, quiet, tiny_path, tmp_path):
    folder, _ = adapter
    out = tmp_path / "merged"

    def refused(*words: str, kind: type[Exception] = ModelError, **options: Any) -> None:
        with pytest.raises(kind) as error:
            merge(options.pop("adapter", folder), out=out, output=quiet, **options)
        for word in words:
            assert word in str(error.value), error.value
        assert not out.exists()

    refused(str(tiny_path), "holds no adapter_config.json", "save_pretrained", adapter=tiny_path)
    config = folder / "adapter_config.json"
    kept = config.read_text()
    refused("--base: ", "neither a folder nor a hub id", base="nowhere")
    change(config, base_model_name_or_path=str(tmp_path / "moved"))
    refused(f"{config}: base_model_name_or_path: ", "moved", "is given with --base")
    change(config, base_model_name_or_path=None)
    refused("base_model_name_or_path: names no base (None); give it with --base")
    change(config, peft_type="PREFIX_TUNING")
    refused("peft_type: 'PREFIX_TUNING' can't be merged; LORA can")
    config.write_text("[1]")
    refused(f"{config}: expected a JSON object, got list; save the adapter again")
    config.write_text(kept)
    weights = folder / "adapter_model.safetensors"
    (folder / "adapter_model.bin").write_bytes(weights.read_bytes())
    weights.unlink()
    refused("adapter_model.bin: a pickle may run code", "as safetensors")
    (folder / "adapter_model.bin").unlink()
    refused("holds no adapter_model.safetensors")
    weights.write_bytes(b"torn")
    refused(f"{weights}: is damaged or was cut off; save the adapter again")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("missing", "isn't in adapter_model.safetensors (1 such tensors)"),
        ("foreign", "elsewhere.lora_A.weight: no place in the base (1 such tensors)"),
        ("shape", "doesn't fit"),
        ("nan", "went astray"),
    ],
)
def test_tensors_that_do_not_fit_are_told_and_never_passed_over(adapter, quiet, tmp_path, fault, words):
    from safetensors.torch import load_file, save_file

    folder, _ = adapter
    path = folder / "adapter_model.safetensors"
    tensors = load_file(path)
    name = next(name for name in tensors if "lora_A" in name)
    if fault == "missing":
        del tensors[name]
    elif fault == "foreign":
        tensors["base_model.model.elsewhere.lora_A.weight"] = tensors[name].clone()
    elif fault == "shape":
        tensors[name] = tensors[name][:, :-1].contiguous()
    else:
        tensors[name][0, 0] = float("nan")
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(ModelError) as error:
        merge(folder, out=tmp_path / "merged", output=quiet)
    assert words in str(error.value), error.value
    assert not (tmp_path / "merged").exists()


# -- a command with subcommands ---------------------------------------------------------------------------------------

app = typer.Typer(context_settings={"help_option_names": ["-h", "--help"]}, pretty_exceptions_enable=False)
train_app = typer.Typer(cls=DefaultGroup, invoke_without_command=True)
app.add_typer(train_app, name="train")


@app.command("other")
def _other() -> None:
    """Something else."""


@train_app.callback()
def _train(
    recipe: Annotated[Path, typer.Argument(help="Recipe file.")],
    sets: Annotated[list[str] | None, typer.Option("--set")] = None,
    json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Tune a model."""
    typer.echo(f"train {recipe} {sets} {json}")


@train_app.command("merge")
def _merge(
    adapter: Annotated[Path, typer.Argument()],
    out: Annotated[Path, typer.Option()],
    json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Add an adapter to its base."""
    typer.echo(f"merge {adapter} {out} {json}")


def said(*args: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["train", *args])
    assert result.exit_code == code, result.output
    return result.output


def test_words_lead_to_the_command_or_its_subcommands():
    assert said("a.yaml", "--set", "x=1", "--set", "y=2", "--json") == "train a.yaml ['x=1', 'y=2'] True\n"
    assert said("--json", "a.yaml") == "train a.yaml None True\n"
    assert said("merge", "folder", "--out", "there", "--json") == "merge folder there True\n", "the command doesn't run too"
    assert said("./merge") == "train merge None False\n", "a file of that name"
    assert "unexpected extra argument" in said("a.yaml", "b.yaml", code=2)
    assert "No such option" in said("--bad", "a.yaml", code=2)
    assert "Missing argument" in said(code=2)
    assert "Usage: root train merge" in said("merge", code=2)


def test_help_is_the_commands_and_names_the_subcommands():
    shown = said("--help")
    assert "Usage: root train [OPTIONS]" in shown and "COMMAND" not in shown
    for words in ("Tune a model.", "Recipe file.", "--set", "merge", "Add an adapter to its base."):
        assert words in shown
    assert "Usage: root train merge [OPTIONS]" in said("merge", "--help")
