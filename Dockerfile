# trlt in a container, as a user without rights. Two kinds of torch, from one file:
#   GPUs:  docker build -t trlt .
#   CPU:   docker build -t trlt:cpu --build-arg EXTRAS=serve --build-arg TORCH_INDEX=<address of an index of torch's CPU builds> .
# and then, in a folder of yours:
#   docker run --rm -it --gpus all --shm-size 8g --user "$(id -u)" -v "$PWD":/home/trlt/here trlt doctor

ARG PYTHON=3.11.13-slim-bookworm

# The wheel, and what it needs as a list of its own, which changes less often than the code.
FROM python:${PYTHON} AS build
ARG EXTRAS=serve,qlora
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
RUN python -c "import sys, tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; o = p['optional-dependencies']; print('\n'.join(dict.fromkeys(p['dependencies'] + [r for e in filter(None, sys.argv[1].split(',')) for r in o[e]])))" "${EXTRAS}" > requirements.txt
COPY trlt trlt
RUN pip wheel --no-cache-dir --no-deps --wheel-dir wheels .

FROM python:${PYTHON}
# torch from where the other packages are brings CUDA's libraries; only the driver is the host's.
ARG TORCH_INDEX=
RUN useradd --create-home --uid 1000 trlt && install --directory --mode 777 /home/trlt/here /home/trlt/cache && chmod 777 /home/trlt
RUN --mount=type=bind,from=build,source=/source,target=/source \
    pip install --no-cache-dir ${TORCH_INDEX:+--extra-index-url "${TORCH_INDEX}"} --requirement /source/requirements.txt
RUN --mount=type=bind,from=build,source=/source,target=/source pip install --no-cache-dir --no-deps /source/wheels/*.whl
# Weights and caches of libraries; mount a volume there to keep them. Any user id may write, for `--user`.
ENV HOME=/home/trlt HF_HOME=/home/trlt/cache/huggingface MPLCONFIGDIR=/home/trlt/cache/matplotlib
USER trlt
WORKDIR /home/trlt/here
ENTRYPOINT ["trlt"]
CMD ["--help"]
