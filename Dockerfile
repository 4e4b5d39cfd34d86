# One image: `taximeter serve` with the embedded PostgreSQL, or any other command of `taximeter`.
#   docker build -t taximeter .
#   docker run -p 8080:8080 -v taximeter:/var/lib/taximeter --init taximeter
# With a server of your own nothing is kept in the volume: -e TAXIMETER_DATABASE_URL=postgresql://user@host/database

FROM python:3.11-slim AS build
RUN python -m venv /opt/taximeter
WORKDIR /src
COPY pyproject.toml README.md LICENSE taximeter_verify.py ./
COPY app app
COPY domain domain
COPY projections projections
RUN /opt/taximeter/bin/pip install --no-cache-dir --disable-pip-version-check '.[embedded]'

FROM python:3.11-slim
# A number of its own, so that the volume's files have the same owner in every build.
RUN useradd --system --uid 10001 --create-home --home-dir /home/taximeter taximeter \
    && install -d -o taximeter -g taximeter -m 0711 /var/lib/taximeter
COPY --from=build /opt/taximeter /opt/taximeter
ENV PATH=/opt/taximeter/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    TAXIMETER_HOST=0.0.0.0 \
    TAXIMETER_DATA=/var/lib/taximeter/data
USER taximeter
WORKDIR /home/taximeter
VOLUME /var/lib/taximeter
EXPOSE 8080
# The first start makes the database; a projection that is far behind is not ready either.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ.get('TAXIMETER_PORT', '8080') + '/health/ready', timeout=4)"]
# SIGTERM drains, then stops web processes, projector and database in this order; allow it 40 s (docker stop -t 40).
ENTRYPOINT ["taximeter"]
CMD ["serve"]
