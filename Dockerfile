# A server of one run, heads-serve; docs/container.md says how it is built and used.
ARG PYTHON=3.12
FROM python:${PYTHON}-slim

# The index to take PyTorch from; empty: pip's own, whose builds bring CUDA's libraries and work without a GPU, too.
ARG TORCH_INDEX=

RUN python -m venv /opt/embed-once
ENV PATH=/opt/embed-once/bin:$PATH
RUN if [ -n "$TORCH_INDEX" ]; then pip install --no-cache-dir --index-url "$TORCH_INDEX" torch torchvision; fi

COPY setup.cfg pyproject.toml README.md LICENSE embed_once.py /src/
COPY cache /src/cache
COPY embed /src/embed
COPY heads /src/heads
RUN pip install --no-cache-dir "/src[serve]" && rm -r /src

# Weights lie where the ecosystem's own caches have them, the run and its cache where they are mounted; none is written to.
ENV TORCH_HOME=/weights/torch HF_HOME=/weights/huggingface HF_HUB_OFFLINE=1 HOME=/tmp
USER 10001:10001
WORKDIR /tmp
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
    CMD python -c "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=2)"
ENTRYPOINT ["heads-serve"]
CMD ["/run", "--host", "0.0.0.0", "--port", "8000"]
