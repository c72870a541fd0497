# Tier ml, flavor cpu on linux/arm64: onnxruntime, the model and what they need.
#
# A file of its own, because it must take the list of the aarch64 wheels whatever the builder says: with an empty
# TARGETARCH the file of docker/cpu means amd64.
ARG BASE_IMAGE
FROM ${BASE_IMAGE}

# Only this tier's own list goes in, so that nothing else that changes can install it again.
# It stays in the image as a record of what was installed.
COPY requirements/cpu-arm64.txt /usr/local/share/ragex/requirements.txt

# --no-deps               the list is the whole closure (see its head)
# --break-system-packages Debian marks its Python as managed by apt; here pip installs beside it, in /usr/local
# --only-binary :all:     wheels only: no compiler is needed, and nothing is built here that could vary
# --root-user-action      this step runs as root on purpose
# PYTHONDONTWRITEBYTECODE keeps pip from leaving .pyc files of its own modules in the layer. The packages it
#                         installs are compiled nevertheless, and checked by hash where SOURCE_DATE_EPOCH is set,
#                         so that their .pyc files hold no times.
RUN PYTHONDONTWRITEBYTECODE=1 python3 -m pip install \
        --no-cache-dir --disable-pip-version-check --no-input --progress-bar off \
        --no-deps --only-binary :all: --break-system-packages --root-user-action ignore \
        --requirement /usr/local/share/ragex/requirements.txt
