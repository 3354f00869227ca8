#!/usr/bin/env bash
# Installs what the project needs and is missing: a virtual environment with the pinned packages, and RabbitMQ; with the
# argument "tests" also Prometheus, by which the tests judge metrics, alerts and dashboards, and Chromium, in which they
# look at reports. As root it asks the distribution's package manager; as an ordinary user it says what to install.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly VENV=.venv
readonly RABBITMQ=/usr/lib/rabbitmq/bin/rabbitmq-server
# The package manager asks this program before it starts a service.
readonly POLICY=/usr/sbin/policy-rc.d
readonly POLICY_MARK='# written by infra/local/setup.sh for the time of one installation'

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

# A broker that the environment names needs none on this machine.
needs_rabbitmq() {
    [ -z "${FACTORY_AMQP_URL:-}" ] && [ ! -x "$RABBITMQ" ] && ! command -v rabbitmq-server >/dev/null
}

# The tests run both as processes of their own.
needs_prometheus() {
    [ "${1:-}" = tests ] && ! { command -v promtool && command -v prometheus-postgres-exporter; } >/dev/null
}

needs_chromium() {
    [ "${1:-}" = tests ] && ! command -v chromium >/dev/null
}

# What decides whether an installed environment is still the right one.
fingerprint() {
    {
        echo "$PWD"
        cat requirements-dev.txt pyproject.toml infra/local/setup.sh
        printf '%s\n' */__init__.py
    } | sha256sum | cut -c1-16
}

policy_restore() {
    if grep -qsF "$POLICY_MARK" "$POLICY"; then
        rm -f "$POLICY"
    fi
    if [ -e "$POLICY.before-factory" ]; then
        mv "$POLICY.before-factory" "$POLICY"
    fi
}

# Keeps services of the packages from starting: the factory runs a private node.
policy_forbid() {
    policy_restore # an earlier run may have been killed before it could
    trap policy_restore EXIT
    if [ -e "$POLICY" ]; then
        mv "$POLICY" "$POLICY.before-factory"
    fi
    printf '#!/bin/sh\n%s\nexit 101\n' "$POLICY_MARK" >"$POLICY"
    chmod 755 "$POLICY"
}

install_packages() {
    local apt=(apt-get -qq -o DPkg::Lock::Timeout=300)
    command -v apt-get >/dev/null || fail "missing: $*" "this system has no apt-get: install them by its own means."
    if [ "$(id -u)" -ne 0 ]; then
        fail "missing: $*" "run as root:  apt-get install $*" "then run 'make' again."
    fi
    say "installing $* with apt-get"
    export DEBIAN_FRONTEND=noninteractive DEBCONF_NOWARNINGS=yes
    policy_forbid
    "${apt[@]}" update
    "${apt[@]}" install -y --no-install-recommends "$@" >/dev/null
    policy_restore
    trap - EXIT
}

# $1 is a package, the rest are the services that it brings.
disable_services() {
    local package=$1
    shift
    if command -v systemctl >/dev/null; then
        systemctl disable --quiet "$@" 2>/dev/null ||
            say "could not disable the system's own $package service; it may start at the next boot"
    fi
}

# Everything that the distribution has to provide, asked for at once.
install_missing() {
    local packages=()
    needs_rabbitmq && packages+=(rabbitmq-server)
    needs_prometheus "$2" && packages+=(prometheus prometheus-postgres-exporter)
    needs_chromium "$2" && packages+=(chromium)
    if [ -n "$1" ] && ! "$1" -c 'import ensurepip, venv' 2>/dev/null; then
        packages+=("python$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv")
    fi
    if [ "${#packages[@]}" -eq 0 ]; then
        return
    fi
    install_packages "${packages[@]}"
    if [[ " ${packages[*]} " == *" rabbitmq-server "* ]]; then
        disable_services rabbitmq-server rabbitmq-server.service epmd.socket epmd.service
    fi
    if [[ " ${packages[*]} " == *" prometheus "* ]]; then
        disable_services prometheus prometheus.service prometheus-postgres-exporter.service
    fi
}

# An environment that was moved or copied here has scripts that point elsewhere.
usable_environment() {
    recent_python "$VENV/bin/python" && "$VENV/bin/python" -c 'import pip' 2>/dev/null &&
        grep -qF "$PWD/$VENV" "$VENV/pyvenv.cfg"
}

make_environment() {
    say "making $VENV with $("$1" --version)"
    rm -rf "$VENV"
    "$1" -m venv "$VENV"
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
    local stamp python='' purpose=${1:-}
    stamp="$VENV/.setup-$(fingerprint)"
    if [ -e "$stamp" ] && ! needs_rabbitmq && ! needs_prometheus "$purpose"; then
        return
    fi
    if [ ! -e "$stamp" ] && ! usable_environment; then
        python=$(find_python)
    fi
    install_missing "$python" "$purpose"
    if [ -n "$python" ]; then
        make_environment "$python"
    fi
    if [ ! -e "$stamp" ]; then
        install_project
        rm -f "$VENV"/.setup-*
        touch "$stamp"
    fi
    say "ready"
}

main "$@"
