#!/usr/bin/env bash
# SGLang on the CPU: bash tests/real_sglang/install.sh VLLM_FOLDER FOLDER (0.4 GB, two minutes).
# SGLang 0.5.23 asks for CUDA's libraries, torch 2.14.1 and transformers 5.19.0. This takes torch 2.13 and transformers from the
# environment that tests/real_vllm/install.sh made, and what else the import of SGLang needs; its kernels are stood in for (cpu/).
set -euo pipefail
vllm=$(cd "$1" && pwd) folder=$2

"$vllm/bin/python" -m venv "$folder"
site=$("$folder/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
"$vllm/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' >"$site/vllm.pth"
"$folder/bin/python" -m pip install --no-deps sglang==0.5.23 \
    asttokens av==18.1.0 blobfile decorator decord2 distro easydict executing gguf ipython jedi matplotlib-inline modelscope \
    openai-harmony orjson outlines==0.1.11 parso pexpect prompt_toolkit ptyprocess pure_eval py-spy python-dateutil soundfile \
    stack_data timm torch_memory_saver traitlets wcwidth xxhash zstandard apache-tvm-ffi interegular partial_json_parser pybase64 \
    python-multipart tiktoken pygments prometheus-client
# torchcodec looks for FFmpeg's libraries by their plain names; those of PyAV have a mark in theirs.
mkdir -p "$folder/ffmpeg"
for library in "$site"/av.libs/lib{av,sw}*; do
    name=$(basename "$library" | sed -E 's/-[0-9a-f]+\.so\.([0-9]+)\..*/.so.\1/')
    ln -sf "$(cd "$site/av.libs" && pwd)/$(basename "$library")" "$folder/ffmpeg/$name"
done
"$folder/bin/python" -c 'import sglang; print("SGLang", sglang.__version__)'
