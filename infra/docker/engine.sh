#!/usr/bin/env bash
# A Docker engine of this checkout's own, for machines that run none, such as a CI runner. Needs root.
#   infra/docker/engine.sh start   start it, unless it runs already
#   infra/docker/engine.sh stop    end it with its containers, and take back what it did to the network; images stay
#   infra/docker/engine.sh host    print what DOCKER_HOST must be
# Each may be run again at any time, after a crash too.
set -euo pipefail
state="$(cd "$(dirname "$0")/../.." && pwd)/.cache/docker-engine"
export DOCKER_HOST="unix://$state/docker.sock"

is_ours() {
    [ -s "$state/pid" ] && tr '\0' ' ' <"/proc/$(cat "$state/pid")/cmdline" 2>/dev/null | grep -qF -- "--data-root $state/data"
}

start() {
    if is_ours && docker info >/dev/null 2>&1; then return; fi
    for tool in dockerd iptables; do
        command -v $tool >/dev/null || { echo "no $tool: apt-get install docker.io iptables" >&2; exit 2; }
    done
    stop
    if ps -C dockerd -o stat= | grep -qv "^Z"; then echo "another Docker engine runs here, use that: two would undo each other's network rules" >&2; exit 2; fi
    mkdir -p "$state"
    [ -e "$state/forward" ] || iptables -S FORWARD | awk '/^-P/{print $3}' >"$state/forward"
    # A session of its own: Ctrl-C in a terminal is for the tests, which still need the engine while they end.
    setsid dockerd --data-root "$state/data" --exec-root "$state/exec" --pidfile "$state/pid" --host "$DOCKER_HOST" \
        >"$state/log" 2>&1 </dev/null &
    for _ in $(seq 300); do
        if docker info >/dev/null 2>&1; then return; fi
        kill -0 $! 2>/dev/null || break
        sleep 0.1
    done
    tail -n 20 "$state/log" >&2
    stop
    echo "the Docker engine did not start; its log's end is above" >&2
    exit 1
}

stop() {
    if is_ours; then
        local pid
        pid=$(cat "$state/pid")
        timeout 60 docker ps --quiet 2>/dev/null | xargs --no-run-if-empty timeout 60 docker rm --force >/dev/null 2>&1 || true
        kill "$pid"
        for _ in $(seq 300); do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.1
        done
        if kill -0 "$pid" 2>/dev/null; then kill -KILL "$pid"; fi
    fi
    [ -e "$state/forward" ] || return 0
    rm -f "$state/pid" "$state/docker.sock"
    # dockerd leaves its bridge, its rules, and a FORWARD chain that drops what it does not know.
    if ip link show docker0 >/dev/null 2>&1; then ip link delete docker0; fi
    for table in filter nat; do
        iptables -t $table -S | grep -E '^-A .*(DOCKER|docker0|172\.17\.0\.)' | sed 's/^-A/-D/' |
            while read -r rule; do eval "iptables -t $table $rule" 2>/dev/null || true; done || true
        for action in -F -X; do
            for chain in $(iptables -t $table -S | awk '/^-N DOCKER/{print $2}'); do iptables -t $table $action "$chain" || true; done
        done
    done
    iptables -P FORWARD "$(cat "$state/forward")"
    rm "$state/forward"
}

case "${1-}" in
    start) start ;;
    stop) stop ;;
    host) echo "$DOCKER_HOST" ;;
    *) sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
