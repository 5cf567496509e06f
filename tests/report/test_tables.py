"""Tables for a paper: metrics, denominators, escapes."""

from __future__ import annotations

import pytest
from rich.console import Console

from trlt.report import PAPER, comparison_table, latex, markdown, results_table
from trlt.report.markdown_latex import latex_text, markdown_text


def entry(left_out=0, **more):
    metrics = {"paper": {"mIoU": 57.04, "R1@0.5": 60.0}, "official": {"mIoU": 58.0, "acc_gqa": 5.06}}
    metrics |= {"lenient": {"mIoU": 57.5, "R1@0.5": 61.0}, "lenient_ci95": {"mIoU": [55.5, 59.5]}}
    intervals = {"mIoU": [55.05, 59.0], "R1@0.5": [58.0, 62.0]}
    protocol = {"questions_left_out": left_out}
    return dict(n=3512, unanswered=1001, missing_videos=0, by={}, ci95=intervals, protocol=protocol, **metrics) | more


def results(**benches):
    return {"schema": 1, "benchmarks": benches}


def test_markdown():
    lines = markdown(results(charades=entry())).splitlines()
    assert lines[4:] == [
        "| benchmark | metric | value | 95% interval | lenient | official | n | unanswered |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| charades | mIoU | 57.0 | 55.0 to 59.0 | 57.5 (55.5 to 59.5) | 58.0 | 3,512 | 1,001 |",
        "|  | R1@0.5 | 60.0 | 58.0 to 62.0 | 61.0 |  |  |  |",
        r"|  | acc\_gqa |  |  |  | 5.1 |  |  |",
    ]


def test_results_of_an_older_trlt_have_no_lenient_values():
    given = entry()
    del given["lenient"], given["lenient_ci95"]
    assert "| charades | mIoU | 57.0 | 55.0 to 59.0 |  | 58.0 | 3,512 | 1,001 |" in markdown(results(charades=given))
    assert "57.0" in shown(results_table(results(charades=given))) and "58.0" in latex(results(charades=given))


def test_latex():
    lines = latex(results(charades=entry(), nextgqa=entry())).splitlines()
    assert lines[0] == r"% \usepackage{booktabs}" and lines[1] == r"\begin{table}[t]" and lines[-1] == r"\end{table}"
    assert r"\begin{tabular}{llrrrrr}" in lines and lines.count(r"\midrule") == 2
    assert (
        r"charades & mIoU & 57.0 {\scriptsize [55.0, 59.0]} & 57.5 {\scriptsize [55.5, 59.5]} & 58.0 & 3,512 & 1,001 \\"
        in lines
    )
    assert r" & acc\_gqa &  &  & 5.1 &  & \\" in lines
    assert r"\caption{Results in percent, with 95\% intervals" in lines[3]


def shown(what):
    console = Console(width=140)
    with console.capture() as captured:
        console.print(what)
    return captured.get()


@pytest.mark.parametrize("form", [markdown, latex, lambda *args, **more: shown(results_table(*args, **more))])
def test_every_table_has_the_changed_denominator_and_says_why(form):
    text = form(results(charades=entry(left_out=208, missing_videos=75)))
    assert "3,512 of 3,720" in text and "208 questions in all are left out of n" in text
    assert "of 3," not in form(results(charades=entry())) and "missing" not in form(results(charades=entry()))


@pytest.mark.parametrize("form", [markdown, latex, lambda *args, **more: shown(results_table(*args, **more))])
def test_the_paper_stands_beside_with_base_sft_and_tuned(form):
    text = form(results(nextgqa=entry(), unknown=entry()), paper=True)
    assert all(value in text for value in ("20.2", "28.3", "37.3"))
    assert "28.3" not in form(results(nextgqa=entry()))


def test_paper_columns():
    given = results(charades=entry())
    assert "| 3,512 | 1,001 | 28.0 | 43.0 | 57.0 |" in markdown(given, paper=True)
    assert r"& 3,512 & 1,001 & 28.0 & 43.0 & 57.0 \\" in latex(given, paper=True)
    assert r"\begin{tabular}{llrrrrrrrr}" in latex(given, paper=True)
    assert PAPER["nextgqa"]["acc"] == (77.2, 70.6, 78.7)


def test_names_are_never_markup():
    hostile = r"a|b_c<i>&\input{x}$^~%#[l](u)*`" + "\n| x"
    assert latex_text(hostile) == (
        r"a\textbar{}b\_c\textless{}i\textgreater{}\&\textbackslash{}input\{x\}\$\textasciicircum{}\textasciitilde{}\%\#[l](u)*`"
        r" \textbar{} x"
    )
    assert markdown_text(hostile) == r"a\|b\_c&lt;i&gt;&amp;\\input{x}$^\~%\#\[l\](u)\*\` \| x"
    given = results(**{hostile: entry(missing_tasks=[hostile])})
    assert "<i>" not in markdown(given) and "\n| x" not in markdown(given) and r"\input" not in latex(given)


def test_comparison_table():
    change = dict(n=1200, a=20.0, b=31.54, difference=11.54, ci95=[5.0, 18.0], better="B", statement="B better")
    same = dict(n=900, a=20.0, b=19.0, difference=-1.0, ci95=None, better=None, statement="no significant difference")
    bench = dict(n=1200, videos=1, only_a=3, only_b=0, metrics={"mIoU": change, "acc": same}, warnings=["prompt: [b]2[/b]"])
    result = dict(a={"run": "runs/[a]"}, b={"run": "runs/b"}, benchmarks={"nextgqa": bench}, only_a=["mmvu"], only_b=[])
    text = shown(comparison_table(result))
    assert "A: runs/[a]" in text and "+11.5" in text and "+5.0 to +18.0" in text and "B better" in text and "1,200" in text
    assert "-1.0" in text and "no significant difference" in text
    assert "warning: nextgqa: prompt: [b]2[/b]" in text and "left out: 3 only in A" in text
    assert "only in A: mmvu" in text and "only in B" not in text and "one video" in text
