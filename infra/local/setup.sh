#!/usr/bin/env bash
# Installs what the project needs and is missing: a virtual environment with the pinned packages, and RabbitMQ.
# As root it asks the distribution's package manager; as an ordinary user it says what to install.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly VENV=.venv
readonly RABBITMQ=/usr/lib/rabbitmq/bin/rabbitmq-server

say() { printf 'setup: %s\n' "$*"; }
fail() {
    printf 'setup: %s\n' "$@" >&2
    exit 1
}

recent_python() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() {
    local candidate
    if [ -n "${PYTHON:-}" ]; then
        recent_python "$PYTHON" || fail "PYTHON=$PYTHON is not a Python 3.11 or newer."
        echo "$PYTHON"
        return
    fi
    for candidate in python3.11 python3 /usr/bin/python3; do
        if recent_python "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    fail "no Python 3.11 or newer on PATH: install one, or name it with 'make setup PYTHON=/path/to/python3'."
}

has_rabbitmq() { [ -x "$RABBITMQ" ] || command -v rabbitmq-server >/dev/null; }

# What decides whether an installed environment is still the right one.
fingerprint() {
    {
        echo "$PWD"
        cat requirements-dev.txt pyproject.toml infra/local/setup.sh
        printf '%s\n' */__init__.py
    } | sha256sum | cut -c1-16
}

policy_restore() {
    rm -f /usr/sbin/policy-rc.d
    if [ -e /usr/sbin/policy-rc.d.before-factory ]; then
        mv /usr/sbin/policy-rc.d.before-factory /usr/sbin/policy-rc.d
    fi
}

# Installs packages without letting any of their services start, now or at boot: the factory runs a private node.
install_packages() {
    command -v apt-get >/dev/null || fail "this system has no apt-get; install by hand: $*"
    if [ "$(id -u)" -ne 0 ]; then
        fail "missing: $*" "run as root:  apt-get install $*" "then run 'make setup' again."
    fi
    say "installing $* with apt-get"
    export DEBIAN_FRONTEND=noninteractive
    if [ -e /usr/sbin/policy-rc.d ]; then
        mv /usr/sbin/policy-rc.d /usr/sbin/policy-rc.d.before-factory
    fi
    trap policy_restore EXIT
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod 755 /usr/sbin/policy-rc.d
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "$@" >/dev/null
    policy_restore
    trap - EXIT
}

install_rabbitmq() {
    install_packages rabbitmq-server
    if command -v systemctl >/dev/null; then
        systemctl disable --quiet rabbitmq-server.service epmd.socket epmd.service 2>/dev/null ||
            say "could not disable the system's own rabbitmq-server service; it may start at the next boot"
    fi
}

# An environment that was moved or copied here has scripts that point elsewhere.
usable_environment() {
    recent_python "$VENV/bin/python" && "$VENV/bin/python" -c 'import pip' 2>/dev/null &&
        grep -qF "$PWD/$VENV" "$VENV/pyvenv.cfg"
}

make_environment() {
    local python=$1
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        install_packages "python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"
    fi
    say "making $VENV with $("$python" --version)"
    rm -rf "$VENV"
    "$python" -m venv "$VENV"
}

install_project() {
    say "installing the pinned packages"
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
    say "installing the project"
    # setuptools warns of the very thing that is wanted: the packages are read from this folder.
    PYTHONWARNINGS=ignore "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
        --no-build-isolation -e .
}

main() {
    local stamp python
    stamp="$VENV/.setup-$(fingerprint)"
    if [ -e "$stamp" ] && has_rabbitmq; then
        return
    fi
    if ! has_rabbitmq; then
        install_rabbitmq
    fi
    if [ ! -e "$stamp" ]; then
        python=$(find_python)
        if ! usable_environment; then
            make_environment "$python"
        fi
        install_project
        rm -f "$VENV"/.setup-*
        touch "$stamp"
    fi
    say "ready"
}

main "$@"
