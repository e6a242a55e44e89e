#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Runs in the guest: the guest itself is the protected machine (role host), on a real driver, a VLAN
# sub-interface and a bond. Behind the last two is a namespace one of whose addresses may ping the machine,
# and which may not be pinged.
set -eu
mkdir -p /etc/sgbpf
peer() { nsenter --net=/run/netns/peer -- "$@"; }
refused() { # refused WORDS COMMAND...: it must fail, and say so in these words
    words=$1
    shift
    if "$@" >/tmp/said 2>&1; then
        cat /tmp/said
        echo "was not refused: $*"
        exit 1
    fi
    cat /tmp/said
    grep -q "$words" /tmp/said
}

ip link set eth0 up
ip addr add 10.0.2.15/24 dev eth0

ip netns add peer
ip link add port0 type veth peer name wire0 netns peer
ip link add port1 type veth peer name wire1 netns peer
ip link add link port0 name port0.5 type vlan id 5
ip link add bond1 type bond mode active-backup miimon 100
ip link set port1 master bond1
for device in port0 port0.5 bond1; do ip link set $device up; done
ip addr add 10.0.5.1/24 dev port0.5
ip addr add 10.0.6.1/24 dev bond1
peer ip link add link wire0 name wire0.5 type vlan id 5
for device in wire0 wire0.5 wire1; do peer ip link set $device up; done
peer ip addr add 10.0.5.2/24 dev wire0.5
peer ip addr add 10.0.6.2/24 dev wire1
peer ip addr add 10.0.5.3/24 dev wire0.5
peer ip addr add 10.0.6.3/24 dev wire1

state() { # state DEVICE_OF_THE_BOND
    cat <<Y
schema: sgbpf/v1
vpcs:
  prod: {cidrs: [10.0.0.0/16]}
groups:
  machine:
    vpc: prod
    description: answers pings of two peers, and pings 10.0.2.0/24
    inbound:
      - {protocol: icmp, icmp: echo-request, cidr: [10.0.5.2/32, 10.0.6.2/32]}
    outbound:
      - {protocol: icmp, icmp: echo-request, cidr: 10.0.2.0/24}
interfaces:
  nic: {vpc: prod, role: host, match: {device: eth0}, addresses: [10.0.2.15], groups: [machine]}
  vlan: {vpc: prod, role: host, match: {device: port0.5}, addresses: [10.0.5.1], groups: [machine]}
  bond: {vpc: prod, role: host, match: {device: $1}, addresses: [10.0.6.1], groups: [machine]}
Y
}
state port1 > /tmp/port.yaml
refused "attach to the bond" sgbpf apply /tmp/port.yaml
state bond1 > /tmp/state.yaml
refused "would run at the ports of the bond" sgbpf apply /tmp/state.yaml --hook native
sgbpf remove-all --yes
sgbpf apply /tmp/state.yaml
sgbpf status

echo "allowed:"
ping -c 1 -W 10 10.0.2.2
peer ping -c 1 -W 5 10.0.5.1
peer ping -c 1 -W 5 10.0.6.1
echo "denied:"
for address in 10.0.5.2 10.0.6.2; do
    if ping -c 1 -W 1 $address; then
        echo "the machine's own ping passed, but no outbound rule admits it"
        exit 1
    fi
done
for pair in 10.0.5.3:10.0.5.1 10.0.6.3:10.0.6.1; do
    if peer ping -c 1 -W 1 -I "${pair%:*}" "${pair#*:}"; then
        echo "a ping of ${pair%:*} passed, but no inbound rule admits it"
        exit 1
    fi
done
sgbpf show counters vlan
sgbpf show counters bond
