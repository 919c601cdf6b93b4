# The trainer as an image, for SageMaker, Azure Machine Learning and Vertex AI alike (docs/learning.md): the same
# interpreter and libraries make the same model everywhere. Build from the repository's root,
# `docker build -f deploy/training.Dockerfile .`, and pin the base image by digest where you build. Never built by Docker
# where this was written: tests/functional/test_trainer.py runs what these lines copy.
ARG BASE_IMAGE=docker.io/library/python:3.13-slim-trixie

FROM ${BASE_IMAGE}
WORKDIR /app
COPY functions/retrainer/requirements.txt ./
RUN ["pip", "install", "--no-cache-dir", "--require-hashes", "--only-binary", ":all:", "--requirement", "requirements.txt"]
COPY shared/fiso /app/fiso
COPY shared/fiso_client /app/fiso_client
COPY functions/trainer /app/functions/trainer
ENV PYTHONPATH=/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# SageMaker adds `train`; the others name platform and folders.
ENTRYPOINT ["python", "-m", "functions.trainer"]
