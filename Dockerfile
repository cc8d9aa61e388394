# The server with the included bundle, without torch. docs/deployment.md describes it.
FROM python:3.13-slim AS build
WORKDIR /source
COPY . .
RUN pip wheel --no-cache-dir --wheel-dir /wheels '.[cpu,serve]'

FROM python:3.13-slim
# No home, no shell: nothing is written but what goes to standard error, and to /tmp where there is one.
RUN useradd --no-create-home --shell /usr/sbin/nologin --uid 10001 toxonnx
# Their versions are those of the wheels.
# hadolint ignore=DL3013
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-index --find-links /wheels 'toxonnx[cpu,serve]'
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
ENTRYPOINT ["toxonnx"]
CMD ["serve", "--host", "0.0.0.0", "--log-format", "json"]
