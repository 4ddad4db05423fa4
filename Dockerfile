# docker build -t ironbridge:0.1.0 .
# docker build -t ironbridge:0.1.0-sqlserver --target sqlserver --build-arg LOCK=sqlserver .

FROM python:3.13-slim-bookworm AS build
# Which packages, to the byte: plain.lock has what pyproject.toml asks for and the extras that the Makefile names, sqlserver.lock its
# extra sqlserver as well. `make lock` writes them; a package that is not what its hash says is not installed.
ARG LOCK=plain
WORKDIR /source
COPY deploy/image ./locks
RUN python -m venv /opt/ironbridge \
 && /opt/ironbridge/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r locks/${LOCK}.lock \
 && python -m venv /opt/build \
 && /opt/build/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r locks/build.lock
COPY pyproject.toml README.md LICENSE ./
COPY canonical ./canonical
COPY adapters ./adapters
COPY flows ./flows
COPY ironbridge ./ironbridge
RUN /opt/build/bin/python -m hatchling build -t wheel \
 && /opt/ironbridge/bin/pip install --no-cache-dir --disable-pip-version-check --no-index --no-deps dist/*.whl

FROM python:3.13-slim-bookworm AS plain
# A user by number, so that Kubernetes can tell that it is not root. /data and /drop are where volumes go: a volume that is
# made there takes over their owner.
RUN groupadd --gid 10001 ironbridge \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin ironbridge \
 && install --directory --owner=10001 --group=10001 /data /drop /etc/ironbridge
COPY --from=build /opt/ironbridge /opt/ironbridge
ENV PATH=/opt/ironbridge/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# `ironbridge` looks for ironbridge.toml where it is started.
WORKDIR /etc/ironbridge
USER 10001:10001
ENTRYPOINT ["ironbridge"]
CMD ["--help"]

# With Microsoft's ODBC driver, for systems on SQL Server. Building it accepts Microsoft's licence of the driver.
FROM plain AS sqlserver
USER 0
ADD https://packages.microsoft.com/config/debian/12/packages-microsoft-prod.deb /tmp/microsoft.deb
RUN dpkg --install /tmp/microsoft.deb \
 && apt-get update \
 && ACCEPT_EULA=Y apt-get install --yes --no-install-recommends msodbcsql18 \
 && rm -rf /tmp/microsoft.deb /var/lib/apt/lists/*
USER 10001:10001

FROM plain AS ironbridge
