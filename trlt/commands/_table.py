"""Which commands there are, with their help; the module of each is loaded when it is asked for."""

from __future__ import annotations

from trlt.commands._command import Lazy

COMMANDS = {
    "download": Lazy(
        "download:download", "Fetch the official files of data sets and benchmarks from where they are public, and check them."
    ),
    "prepare": Lazy("prepare:prepare", "Turn official annotation files into samples."),
    "dataset": Lazy(
        "",
        "The data sets that trlt reads, what they share, and files of one's own.",
        {
            "list": Lazy("dataset_list:list_datasets", "List the training sets and benchmarks."),
            "overlap": Lazy(
                "dataset_overlap:overlap",
                "Count the samples of training sets that are about videos of benchmarks, in the annotation that is there.",
            ),
            "check": Lazy(
                "dataset_check:check",
                "Check such a file: its example, its metrics with gold, wrong and no answers, and how it reads real files.",
            ),
        },
    ),
    "probe": Lazy(
        "probe:probe",
        "Sample several completions per question, to measure difficulty; or look at the answers.",
        {
            "show": Lazy("probe_show:show", "Show a sample, all of its answers, and how selection classifies it."),
            "compare": Lazy(
                "probe_compare:compare",
                "Compare two probes of the same samples: rewards, classes and histograms, before and after tuning.",
            ),
        },
    ),
    "prompt": Lazy(
        "",
        "Look at what a model is asked.",
        {"show": Lazy("prompt_show:show", "Show samples' prompts in a recipe's words, and the completions that are right.")},
    ),
    "select": Lazy("select:select", "Keep the samples that are worth training on."),
    "reward": Lazy(
        "",
        "Your own reward functions.",
        {
            "try": Lazy(
                "reward_try:try_reward",
                "Show what functions of yours would have paid on a probe's rows, beside the recipe's reward; without a model.",
            ),
        },
    ),
    "train": Lazy(
        "train:train",
        "Tune a model with GRPO, or with the supervised baseline.",
        {
            "merge": Lazy("merge:merge", "Add a LoRA adapter to its base's weights: one model, which loads without PEFT."),
            "push": Lazy("push:push", "Upload a run's model with its card, and nothing else, to a hub."),
        },
    ),
    "eval": Lazy("eval:evaluate", "Score a model, or any model's predictions, on benchmarks."),
    "compare": Lazy("compare:compare", "Compare two runs of `trlt eval`, question by question."),
    "leaderboard": Lazy(
        "leaderboard:leaderboard",
        "Set any number of runs of `trlt eval` side by side: one table with intervals, and what can't be told from the best.",
    ),
    "report": Lazy(
        "report:report",
        "Show runs as one HTML page that opens from disk: metrics, curves, histograms, and every sample with its answers.",
    ),
    "reproduce": Lazy(
        "reproduce:reproduce",
        "Run a pre-registered experiment with trlt's own commands: tables, plots, and a verdict on each claim.",
    ),
    "infer": Lazy(
        "infer:infer", "Ask about a video, or the questions of a file of samples: reasoning, answer, and when it happens."
    ),
    "serve": Lazy(
        "serve:serve", "Ask a model about videos on a page of this machine, or through an OpenAI-compatible endpoint."
    ),
    "export": Lazy(
        "export:export", "Write samples in the format of another tool; what it can't carry is left out and counted."
    ),
    "video": Lazy(
        "",
        "Check videos before a run, and look after the frame store.",
        {
            "check": Lazy(
                "video:check",
                "Decode every video as a run would, and report what is broken, damaged, or unlike its annotation (length, gold "
                "spans).",
            ),
            "cache": Lazy(
                "",
                "The frame store: clips that were decoded once.",
                {
                    "info": Lazy("video:cache_info", "Show how many clips the frame store holds, and how large it is."),
                    "clear": Lazy("video:cache_clear", "Remove every clip from the frame store."),
                    "warm": Lazy(
                        "video:cache_warm", "Decode the clips of samples into the frame store ahead of a run, with all cores."
                    ),
                },
            ),
        },
    ),
    "recipe": Lazy(
        "",
        "Recipes that ship with trlt: list, show and copy them.",
        {
            "list": Lazy("recipe:list_", "List recipes, ablations and plans: what each is for, and the GPUs that it needs."),
            "show": Lazy("recipe:show", "Print a recipe's file, comments included."),
            "copy": Lazy("recipe:copy", "Copy a recipe to a file of yours, to change it."),
        },
    ),
    "demo": Lazy("demo:demo", "Run all commands on the miniature: synthetic videos, a tiny model, a few minutes."),
    "doctor": Lazy(
        "doctor:doctor",
        "Look at versions, GPUs, decoders, disk and memory, and make a tiny run: what is at fault, with its remedy.",
    ),
}
"""In the order in which one uses them."""
