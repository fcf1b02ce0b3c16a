# longspan in a container, on CPUs or NVIDIA GPUs (docs/container.md). Both bases are the same Ubuntu with the same Python:
#   BASE=ubuntu:24.04                               CPUs
#   BASE=nvidia/cuda:12.8.1-base-ubuntu24.04        GPUs; torch includes CUDA's libraries, the host has the driver
ARG BASE=ubuntu:24.04
FROM ${BASE}

# The base pins Python's version. Triton and torch.compile need gcc and the headers; records need git for the commit.
# hadolint ignore=DL3008
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
      ca-certificates gcc git libc6-dev python3 python3-dev python3-venv \
 && rm -rf /var/lib/apt/lists/*

# A user with the host user's number, who then owns the files in mounted folders. Ubuntu's own user has the same number.
ARG USER_ID=1000
ARG GROUP_ID=1000
RUN (userdel --remove ubuntu 2>/dev/null || true) \
 && groupadd --non-unique --gid "${GROUP_ID}" longspan \
 && useradd --non-unique --no-log-init --create-home --uid "${USER_ID}" --gid "${GROUP_ID}" longspan \
 && mkdir -p /workspace/longspan /workspace/data /workspace/models /workspace/logs \
 && chown -R "${USER_ID}:${GROUP_ID}" /workspace

ENV PATH=/opt/venv/bin:${PATH} \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

# torch first, because it is the largest layer and changes least. An index of CPU builds makes it small.
ARG TORCH_INDEX=
WORKDIR /workspace/longspan
COPY constraints.txt ./
RUN python3 -m venv /opt/venv \
 && pip install ${TORCH_INDEX:+--index-url "${TORCH_INDEX}"} -c constraints.txt torch

COPY --chown=${USER_ID}:${GROUP_ID} . .
RUN pip install -c constraints.txt -e '.[demo,peft,zstd]'

USER ${USER_ID}:${GROUP_ID}
CMD ["longspan", "--help"]
