# syntax=docker/dockerfile:1
# The base is an argument: use your own mirror or a hardened Python (>= 3.11) with
#   docker build --build-arg BASE=registry.example/python:3.13-slim .
ARG BASE=python:3.13-slim-bookworm

FROM ${BASE} AS build
WORKDIR /src
COPY requirements-build.txt requirements-connectors.txt ./
RUN python3 -m venv /opt/remediator \
    && /opt/remediator/bin/pip install --no-cache-dir --require-hashes -r requirements-build.txt \
    && /opt/remediator/bin/pip install --no-cache-dir --require-hashes -r requirements-connectors.txt
COPY pyproject.toml README.md LICENSE ./
COPY remediator remediator
RUN /opt/remediator/bin/pip install --no-cache-dir --no-deps --no-build-isolation . \
    && mkdir -p /var/lib/remediator

FROM ${BASE}
COPY --from=build /opt/remediator /opt/remediator
COPY --from=build --chown=10001:10001 /var/lib/remediator /var/lib/remediator
ENV PATH=/opt/remediator/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /var/lib/remediator
VOLUME /var/lib/remediator
EXPOSE 8080
ENTRYPOINT ["remediator"]
CMD ["serve", "--config", "/etc/remediator/remediator.yaml"]
