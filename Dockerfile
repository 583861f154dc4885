# Two images: `slim` (no torch: the HTTP service, migrations, submitting, results) and `worker`, which is the default;
# `flower` is for looking at Celery.
#   docker build --target slim --tag patchgrid:slim .
#   docker build --tag patchgrid:worker .
# A tag may be moved to another image, a digest may not: docs/deploy-compose.md says how to pin one.
ARG PYTHON_IMAGE=python:3.11.16-slim-bookworm


# The wheel, of what .dockerignore lets in.
FROM ${PYTHON_IMAGE} AS wheel
WORKDIR /source
COPY constraints.txt ./
RUN --mount=type=cache,target=/root/.cache/pip pip install --constraint constraints.txt hatchling==1.33.0
COPY pyproject.toml README.md LICENSE ./
COPY examples examples
COPY workers workers
COPY storage storage
COPY api api
COPY cli cli
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheels .


FROM ${PYTHON_IMAGE} AS slim-packages
COPY constraints.txt /
RUN python -m venv /opt/patchgrid
COPY --from=wheel /wheels /wheels
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/patchgrid/bin/pip install --constraint /constraints.txt "$(ls /wheels/*.whl)[server,cluster,postgres,parquet]"


FROM ${PYTHON_IMAGE} AS worker-packages
COPY constraints.txt /
RUN python -m venv /opt/patchgrid
# torch alone comes from TORCH_INDEX, in a layer that a change of patchgrid leaves as it is. On x86-64 PyPI's
# build is one for CUDA; for an older driver or another platform name one of https://download.pytorch.org/whl
# (…/whl/cu126, …/whl/cpu) that has the version in constraints.txt.
ARG TORCH_INDEX=https://pypi.org/simple
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/patchgrid/bin/pip install --no-deps --index-url "${TORCH_INDEX}" --constraint /constraints.txt torch
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/patchgrid/bin/pip install --constraint /constraints.txt torch
COPY --from=wheel /wheels /wheels
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/patchgrid/bin/pip install --constraint /constraints.txt "$(ls /wheels/*.whl)[model,cluster,postgres]"


FROM ${PYTHON_IMAGE} AS base
# The user is given by number: Kubernetes cannot tell that a name is not root's.
RUN groupadd --gid 10001 patchgrid \
    && useradd --uid 10001 --gid 10001 --create-home patchgrid \
    && install --directory --owner 10001 --group 10001 /models
ENV PATH=/opt/patchgrid/bin:${PATH} \
    PYTHONUNBUFFERED=1
WORKDIR /home/patchgrid
USER 10001:10001
ENTRYPOINT ["patchgrid"]
CMD ["--help"]


FROM base AS slim
COPY --from=slim-packages /opt/patchgrid /opt/patchgrid


# Celery's workers and tasks in a browser: docker compose --profile flower up --detach flower
FROM ${PYTHON_IMAGE} AS flower
COPY constraints.txt /
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --constraint /constraints.txt flower==2.2.0 'celery[redis]'
WORKDIR /tmp
USER 10001:10001
ENTRYPOINT ["celery", "flower"]


FROM base AS worker
# NVIDIA's container runtime puts the driver's libraries in; CUDA's own come with torch.
ENV HF_HOME=/models \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=worker-packages /opt/patchgrid /opt/patchgrid
COPY --chmod=755 docker/worker_healthy.py /opt/patchgrid/bin/worker-healthy
HEALTHCHECK --interval=60s --timeout=30s --start-period=120s --retries=3 CMD ["worker-healthy"]
CMD ["worker", "start", "--help"]
