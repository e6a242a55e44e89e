# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Completion of sgbpf for bash: verbs, nouns, options, interface names of the applied state, files.
_sgbpf() {
    local word=${COMP_WORDS[COMP_CWORD]} verb=${COMP_WORDS[1]} noun=${COMP_WORDS[2]}
    local globals="--json --state-dir --bpffs --host-config --hook --help"
    local names
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        mapfile -t COMPREPLY < <(compgen -W "check diff apply confirm attach detach remove-all status monitor show why flows replay $globals --version" -- "$word")
        return
    fi
    case ${COMP_WORDS[COMP_CWORD - 1]} in
        --hook) mapfile -t COMPREPLY < <(compgen -W "auto native generic tcx clsact" -- "$word"); return ;;
        --revoke) mapfile -t COMPREPLY < <(compgen -W "keep recheck kill" -- "$word"); return ;;
        --family) mapfile -t COMPREPLY < <(compgen -W "ipv4 ipv6" -- "$word"); return ;;
        --reason) mapfile -t COMPREPLY < <(compgen -W "rule tracked unfiltered no-rule source-dest-check not-ready quarantine truncated bad-header" -- "$word"); return ;;
        --state) mapfile -t COMPREPLY < <(compgen -W "syn-sent syn-received established fin-wait close-wait time-wait reset udp-asked udp-answered udp-stream icmp other" -- "$word"); return ;;
        --protocol) mapfile -t COMPREPLY < <(compgen -W "tcp udp icmp icmpv6" -- "$word"); return ;;
        --pcap | --state-dir | --bpffs | --host-config) mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
    esac
    case ${COMP_WORDS[COMP_CWORD - 1]} in
        --direction) mapfile -t COMPREPLY < <(compgen -W "auto in out" -- "$word"); return ;;
        --captured-at) mapfile -t COMPREPLY < <(compgen -W "auto guest tap" -- "$word"); return ;;
        --program) mapfile -t COMPREPLY < <(compgen -W "tc xdp" -- "$word"); return ;;
    esac
    names=$(sgbpf show interfaces 2>/dev/null | awk 'NR > 1 { print $1 }')
    if [[ ${COMP_WORDS[COMP_CWORD - 1]} == --interface ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$names" -- "$word")
        return
    fi
    case $verb in
        check) mapfile -t COMPREPLY < <(compgen -f -W "--image $globals" -- "$word") ;;
        diff) mapfile -t COMPREPLY < <(compgen -f -W "$globals" -- "$word") ;;
        apply) mapfile -t COMPREPLY < <(compgen -f -W "--require-devices --prune --yes --confirm --revoke --reset --adopt --force $globals" -- "$word") ;;
        confirm) mapfile -t COMPREPLY < <(compgen -W "--undo $globals" -- "$word") ;;
        attach) mapfile -t COMPREPLY < <(compgen -W "$names --adopt --force $globals" -- "$word") ;;
        detach) mapfile -t COMPREPLY < <(compgen -W "$names --quarantine --yes --force $globals" -- "$word") ;;
        remove-all) mapfile -t COMPREPLY < <(compgen -W "--yes $globals" -- "$word") ;;
        monitor) mapfile -t COMPREPLY < <(compgen -W "--interface --drops --all --direction --peer --protocol --port --reason --count --seconds $globals" -- "$word") ;;
        flows) mapfile -t COMPREPLY < <(compgen -W "flush --interface --group --peer --protocol --rule --all --reset $globals" -- "$word") ;;
        replay) mapfile -t COMPREPLY < <(compgen -f -W "--interface --direction --captured-at --program --quiet $globals" -- "$word") ;;
        why)
            if [[ $word == -* ]]; then
                mapfile -t COMPREPLY < <(compgen -W "--frame --pcap --packet --family $globals" -- "$word")
            elif ((COMP_CWORD == 3)); then
                mapfile -t COMPREPLY < <(compgen -W "in out $names" -- "$word")
            elif ((COMP_CWORD == 2)); then
                mapfile -t COMPREPLY < <(compgen -W "$names" -- "$word")
            else
                mapfile -t COMPREPLY < <(compgen -W "tcp udp icmp icmpv6" -- "$word")
            fi
            ;;
        show)
            if ((COMP_CWORD == 2)); then
                mapfile -t COMPREPLY < <(compgen -W "rules flows maps counters policies interfaces groups prefix-lists" -- "$word")
            elif [[ $noun == flows ]]; then
                mapfile -t COMPREPLY < <(compgen -W "--interface --group --peer --protocol --state --rule --limit --seconds $globals" -- "$word")
            else
                mapfile -t COMPREPLY < <(compgen -W "$names $globals" -- "$word")
            fi
            ;;
        *) mapfile -t COMPREPLY < <(compgen -W "$globals" -- "$word") ;;
    esac
}
complete -o filenames -F _sgbpf sgbpf
