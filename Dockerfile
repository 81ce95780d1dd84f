# The web service: `bigru-tagger serve`. It predicts in NumPy on a CPU, without PyTorch.
#   docker build --tag bigru-tagger .
#   docker run --rm --publish 8000:8000 --volume "$PWD/output/my/model-best:/model:ro" bigru-tagger
FROM python:3.12-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY bigru_tagger bigru_tagger
RUN python -m venv /opt/bigru-tagger \
    && /opt/bigru-tagger/bin/pip install --no-cache-dir --constraint constraints.txt ".[serve]" \
    && /opt/bigru-tagger/bin/pip uninstall --yes pip

FROM python:3.12-slim
COPY --from=build /opt/bigru-tagger /opt/bigru-tagger
# A user without a home folder, whose number no user of the host should have.
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin server
USER 10001
ENV PATH=/opt/bigru-tagger/bin:$PATH PYTHONUNBUFFERED=1
EXPOSE 8000
HEALTHCHECK --start-period=30s CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/healthz', timeout=3)"]
ENTRYPOINT ["bigru-tagger", "serve"]
CMD ["/model", "--host", "0.0.0.0"]
