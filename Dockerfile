# docker build -t cifar-studio . && docker run --read-only -v cifar:/data -p 127.0.0.1:8501:8501 cifar-studio
FROM python:3.13-slim
WORKDIR /app
COPY requirements.lock ./
RUN pip install -q --no-cache-dir --require-hashes -r requirements.lock
COPY app.py requirements.txt ./
COPY .streamlit .streamlit
COPY cifar_core cifar_core
COPY pages pages
RUN python -m compileall -q app.py cifar_core pages && install -d -m 1777 /data
# Everything that is written goes to /data: the root may be read-only, and the user any, known to the system or not.
ENV HOME=/data TMPDIR=/data CIFAR_RUNS_DIR=/data/runs PORT=8501
VOLUME /data
USER 1000:1000
HEALTHCHECK --start-period=60s CMD python -c "import os, urllib.request as u; u.urlopen(f'http://localhost:{os.environ[\"PORT\"]}/_stcore/health', timeout=5)"
CMD ["sh", "-c", "exec streamlit run app.py --server.address 0.0.0.0 --server.port $PORT"]
