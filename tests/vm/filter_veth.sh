#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Runs in the guest: sgbpf on a veth pair under a kernel without tcx. The far end, in a namespace of
# its own, is the workload; it may be pinged, and may ping nobody.
set -eu
mkdir -p /etc/sgbpf
ip netns add workload
ip link add tap0 type veth peer name eth0 address 52:54:00:00:00:01 netns workload
ip link set tap0 up
ip addr add 10.0.1.1/24 dev tap0
inside() { nsenter --net=/run/netns/workload -- "$@"; }
inside ip link set lo up
inside ip link set eth0 up
inside ip addr add 10.0.1.10/24 dev eth0

cat > /tmp/state.yaml <<'Y'
schema: sgbpf/v1
vpcs:
  prod: {cidrs: [10.0.0.0/16]}
groups:
  pinged:
    vpc: prod
    description: answers pings
    inbound:
      - {protocol: icmp, icmp: echo-request, cidr: 10.0.0.0/16}
    outbound: []
interfaces:
  web0:
    vpc: prod
    role: workload
    match: {device: tap0}
    mac: "52:54:00:00:00:01"
    addresses: [10.0.1.10]
    groups: [pinged]
Y
sgbpf apply /tmp/state.yaml
sgbpf status
echo "allowed:"
ping -c 1 -W 5 10.0.1.10
echo "denied:"
if inside ping -c 1 -W 1 10.0.1.1; then
    echo "the workload's own ping passed, but no outbound rule admits it"
    exit 1
fi
sgbpf show counters web0
sgbpf show flows
