ARG PYTHON=3.13-slim-bookworm

FROM python:${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
# The lock holds names, versions and hashes: what does not match never gets as far as an installation.
COPY requirements.lock ./
RUN pip download --quiet --require-hashes --only-binary :all: --requirement requirements.lock --dest wheels
COPY pyproject.toml README.md LICENSE ./
COPY at_worker at_worker
COPY sql sql
# From here on pip sees nothing but what was checked above.
RUN pip install --quiet --no-index --find-links wheels hatchling \
 && pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist . \
 && python -m venv --without-pip /opt/at-worker \
 && pip --python /opt/at-worker/bin/python install --quiet --no-index --find-links wheels "$(ls dist/*.whl)[otel]"


FROM python:${PYTHON}
LABEL org.opencontainers.image.title="at-worker" \
      org.opencontainers.image.description="Runs the rows of a PostgreSQL table at their time" \
      org.opencontainers.image.licenses="MIT"
# A worker installs nothing.
RUN pip uninstall --quiet --yes --root-user-action=ignore pip
COPY --from=build /opt/at-worker /opt/at-worker
ENV PATH=/opt/at-worker/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/app \
    METRICS_HOST=0.0.0.0 \
    METRICS_PORT=9464
WORKDIR /app
USER 10001:10001
EXPOSE 9464
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=10s --retries=3 \
    CMD ["python", "-Ic", "import http.client, os; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['METRICS_PORT']), timeout=4); c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["at-worker"]
