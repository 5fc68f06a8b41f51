#!/usr/bin/env bash
# A robot that is nothing but mosquitto_pub: plain JSON on one topic, no agent and no spool.
#
#   muster-gateway &
#   examples/mosquitto_robot.sh demo/mosquitto
#
# QoS 1 matters: the gateway acknowledges a message only after its samples are durable, and mosquitto_pub waits for
# that. A message that is sent twice is stored twice, because it carries no sequence; the agent's are stored once.
set -euo pipefail

robot=${1:?usage: mosquitto_robot.sh FLEET/ROBOT [HOST] [PORT] [MESSAGES]}
host=${2:-127.0.0.1}
port=${3:-1883}
messages=${4:-0} # 0: until it is ended

command -v mosquitto_pub >/dev/null || {
    echo "error: mosquitto_pub is missing: install mosquitto-clients" >&2
    exit 1
}

# What this machine can say of itself without any help; a sample without `t` is stamped by the gateway.
sample() {
    local load
    read -r load _ 2>/dev/null </proc/loadavg || load=$(uptime | sed 's/.*load average[s]*: *\([0-9.]*\).*/\1/')
    printf '{"ch":"machine","v":{"load":%s,"message":%d,"note":"plain JSON"}}' "${load:-0.0}" "$1"
}

for ((i = 1; messages == 0 || i <= messages; i++)); do
    mosquitto_pub -h "$host" -p "$port" -i "$robot" -V mqttv5 -q 1 -t "muster/1/$robot/json" -m "$(sample "$i")"
    echo "durable: message $i"
    ((i == messages)) || sleep 1
done
