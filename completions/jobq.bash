# bash completion for jobq
_jobq_files() {
    local IFS=$'\n'
    COMPREPLY=($(compgen -f -- "$cur"))
    compopt -o filenames 2>/dev/null  # bash 4
}
_jobq_words() {  # bash completes only the part after an @ if @ is in COMP_WORDBREAKS
    local typed="${COMP_LINE:0:COMP_POINT}" word
    typed="${typed##*[[:space:]]}"
    COMPREPLY=()
    case "$COMP_WORDBREAKS $typed" in *@*" @"*) cur="$typed" ;; *) typed="" ;; esac
    for word in $(compgen -W "$1" -- "$cur"); do COMPREPLY+=("${word#"${typed:+@}"}"); done
}
_jobq() {
    local cur="${COMP_WORDS[COMP_CWORD]}" prev="${COMP_WORDS[COMP_CWORD-1]}" command="" words="" i
    for ((i = 1; i < COMP_CWORD; i++)); do
        case "${COMP_WORDS[i]}" in
            --after|--after-any|--after-fail|--at|--attempt|--backoff|--before|--capacity|--command|--cwd|--env|--env-file|--expires|--for|--from|--grace|--grep|--idle-timeout|--in|--jitter|--jobs|--jsonl|--keep|--key|--key-ttl|--label|--limit|--lock|--log-max|--max-lost|--meta|--missed|--name|--need|--no-retry-on|--older-than|--on-conflict|--on-stop|--overlap|--pid|--priority|--python|--queue|--reason|--retries|--retry-on|--since|--slots|--state|--stderr|--stdin|--stop-after|--store|--success-codes|--tail|--timeout|--tz|--until|--wait-room|--when|-C|-e|-j|-n|-p|-q|-r|-s|-t) ((i++)) ;;
            -*) ;;
            *)
                if [ -z "$command" ]; then
                    command="${COMP_WORDS[i]}"
                else
                    case "$command" in add|run) COMPREPLY=($(compgen -f -- "$cur")); return ;; esac
                fi
                ;;
        esac
    done
    case "$command $prev" in
        "add --priority"|"add -p") COMPREPLY=($(compgen -W "low normal high" -- "$cur")); return ;;
        "add --jitter") COMPREPLY=($(compgen -W "full none" -- "$cur")); return ;;
        "add --on-conflict") COMPREPLY=($(compgen -W "skip replace fail" -- "$cur")); return ;;
        "call --priority"|"call -p") COMPREPLY=($(compgen -W "low normal high" -- "$cur")); return ;;
        "call --jitter") COMPREPLY=($(compgen -W "full none" -- "$cur")); return ;;
        "call --on-conflict") COMPREPLY=($(compgen -W "skip replace fail" -- "$cur")); return ;;
        "run --priority"|"run -p") COMPREPLY=($(compgen -W "low normal high" -- "$cur")); return ;;
        "run --jitter") COMPREPLY=($(compgen -W "full none" -- "$cur")); return ;;
        "list --state"|"list -s") COMPREPLY=($(compgen -W "queued held running succeeded failed cancelled skipped expired" -- "$cur")); return ;;
        "show --state"|"show -s") COMPREPLY=($(compgen -W "queued held running succeeded failed cancelled skipped expired" -- "$cur")); return ;;
        "wait --state"|"wait -s") COMPREPLY=($(compgen -W "queued held running succeeded failed cancelled skipped expired" -- "$cur")); return ;;
        "cancel --state"|"cancel -s") COMPREPLY=($(compgen -W "queued held running succeeded failed cancelled skipped expired" -- "$cur")); return ;;
        "requeue --state"|"requeue -s") COMPREPLY=($(compgen -W "queued held running succeeded failed cancelled skipped expired" -- "$cur")); return ;;
        "again --priority"|"again -p") COMPREPLY=($(compgen -W "low normal high" -- "$cur")); return ;;
        "again --jitter") COMPREPLY=($(compgen -W "full none" -- "$cur")); return ;;
        "hold --state"|"hold -s") COMPREPLY=($(compgen -W "queued held running succeeded failed cancelled skipped expired" -- "$cur")); return ;;
        "release --state"|"release -s") COMPREPLY=($(compgen -W "queued held running succeeded failed cancelled skipped expired" -- "$cur")); return ;;
        "edit --priority"|"edit -p") COMPREPLY=($(compgen -W "low normal high" -- "$cur")); return ;;
        "edit --jitter") COMPREPLY=($(compgen -W "full none" -- "$cur")); return ;;
        "move --state"|"move -s") COMPREPLY=($(compgen -W "queued held running succeeded failed cancelled skipped expired" -- "$cur")); return ;;
        "schedule --priority"|"schedule -p") COMPREPLY=($(compgen -W "low normal high" -- "$cur")); return ;;
        "schedule --jitter") COMPREPLY=($(compgen -W "full none" -- "$cur")); return ;;
        "ack --state"|"ack -s") COMPREPLY=($(compgen -W "queued held running succeeded failed cancelled skipped expired" -- "$cur")); return ;;
        "rm --state"|"rm -s") COMPREPLY=($(compgen -W "queued held running succeeded failed cancelled skipped expired" -- "$cur")); return ;;
        " --store") _jobq_files; return ;;
        "add --from") _jobq_files; return ;;
        "add --jsonl") _jobq_files; return ;;
        "add --queue"|"add -q") return ;;
        "add --retries"|"add -r") return ;;
        "add --backoff") return ;;
        "add --retry-on") return ;;
        "add --no-retry-on") return ;;
        "add --success-codes") return ;;
        "add --max-lost") return ;;
        "add --timeout"|"add -t") return ;;
        "add --idle-timeout") return ;;
        "add --grace") return ;;
        "add --log-max") return ;;
        "add --at") return ;;
        "add --in") return ;;
        "add --expires") return ;;
        "add --after") return ;;
        "add --after-any") return ;;
        "add --after-fail") return ;;
        "add --lock") return ;;
        "add --need") return ;;
        "add --slots") return ;;
        "add --label") return ;;
        "add --meta") return ;;
        "add --key") return ;;
        "add --key-ttl") return ;;
        "add --wait-room") return ;;
        "add --name"|"add -n") return ;;
        "add --stdin") _jobq_files; return ;;
        "add --stderr") _jobq_files; return ;;
        "add --cwd"|"add -C") _jobq_files; return ;;
        "add --env"|"add -e") return ;;
        "add --env-file") _jobq_files; return ;;
        "call --python") return ;;
        "call --queue"|"call -q") return ;;
        "call --retries"|"call -r") return ;;
        "call --backoff") return ;;
        "call --retry-on") return ;;
        "call --no-retry-on") return ;;
        "call --success-codes") return ;;
        "call --max-lost") return ;;
        "call --timeout"|"call -t") return ;;
        "call --idle-timeout") return ;;
        "call --grace") return ;;
        "call --log-max") return ;;
        "call --at") return ;;
        "call --in") return ;;
        "call --expires") return ;;
        "call --after") return ;;
        "call --after-any") return ;;
        "call --after-fail") return ;;
        "call --lock") return ;;
        "call --need") return ;;
        "call --slots") return ;;
        "call --label") return ;;
        "call --meta") return ;;
        "call --key") return ;;
        "call --key-ttl") return ;;
        "call --wait-room") return ;;
        "call --name"|"call -n") return ;;
        "call --stdin") _jobq_files; return ;;
        "call --stderr") _jobq_files; return ;;
        "call --cwd"|"call -C") _jobq_files; return ;;
        "call --env"|"call -e") return ;;
        "call --env-file") _jobq_files; return ;;
        "run --from") _jobq_files; return ;;
        "run --jobs"|"run -j") return ;;
        "run --queue"|"run -q") return ;;
        "run --retries"|"run -r") return ;;
        "run --backoff") return ;;
        "run --retry-on") return ;;
        "run --no-retry-on") return ;;
        "run --success-codes") return ;;
        "run --max-lost") return ;;
        "run --timeout"|"run -t") return ;;
        "run --idle-timeout") return ;;
        "run --grace") return ;;
        "run --log-max") return ;;
        "run --at") return ;;
        "run --in") return ;;
        "run --expires") return ;;
        "run --after") return ;;
        "run --after-any") return ;;
        "run --after-fail") return ;;
        "run --lock") return ;;
        "run --need") return ;;
        "run --slots") return ;;
        "run --label") return ;;
        "run --meta") return ;;
        "run --name"|"run -n") return ;;
        "run --stdin") _jobq_files; return ;;
        "run --stderr") _jobq_files; return ;;
        "run --cwd"|"run -C") _jobq_files; return ;;
        "run --env"|"run -e") return ;;
        "run --env-file") _jobq_files; return ;;
        "worker --jobs"|"worker -j") return ;;
        "worker --queue"|"worker -q") return ;;
        "worker --stop-after") return ;;
        "worker --on-stop") return ;;
        "worker --pid") return ;;
        "worker --tail") return ;;
        "slots --pid") return ;;
        "list --queue"|"list -q") return ;;
        "list --label") return ;;
        "list --grep") return ;;
        "list --since") return ;;
        "list --until") return ;;
        "show --queue"|"show -q") return ;;
        "show --label") return ;;
        "show --grep") return ;;
        "show --since") return ;;
        "show --until") return ;;
        "log --tail") return ;;
        "log --attempt") return ;;
        "log --stderr") _jobq_files; return ;;
        "wait --timeout"|"wait -t") return ;;
        "wait --queue"|"wait -q") return ;;
        "wait --label") return ;;
        "wait --grep") return ;;
        "wait --since") return ;;
        "wait --until") return ;;
        "cancel --queue"|"cancel -q") return ;;
        "cancel --label") return ;;
        "cancel --grep") return ;;
        "cancel --since") return ;;
        "cancel --until") return ;;
        "requeue --queue"|"requeue -q") return ;;
        "requeue --label") return ;;
        "requeue --grep") return ;;
        "requeue --since") return ;;
        "requeue --until") return ;;
        "again --queue"|"again -q") return ;;
        "again --retries"|"again -r") return ;;
        "again --backoff") return ;;
        "again --retry-on") return ;;
        "again --no-retry-on") return ;;
        "again --success-codes") return ;;
        "again --max-lost") return ;;
        "again --timeout"|"again -t") return ;;
        "again --idle-timeout") return ;;
        "again --grace") return ;;
        "again --log-max") return ;;
        "again --at") return ;;
        "again --in") return ;;
        "again --expires") return ;;
        "again --after") return ;;
        "again --after-any") return ;;
        "again --after-fail") return ;;
        "again --lock") return ;;
        "again --need") return ;;
        "again --slots") return ;;
        "again --label") return ;;
        "again --meta") return ;;
        "again --wait-room") return ;;
        "again --name"|"again -n") return ;;
        "again --stdin") _jobq_files; return ;;
        "again --stderr") _jobq_files; return ;;
        "again --cwd"|"again -C") _jobq_files; return ;;
        "again --env"|"again -e") return ;;
        "again --env-file") _jobq_files; return ;;
        "hold --queue"|"hold -q") return ;;
        "hold --label") return ;;
        "hold --grep") return ;;
        "hold --since") return ;;
        "hold --until") return ;;
        "release --queue"|"release -q") return ;;
        "release --label") return ;;
        "release --grep") return ;;
        "release --since") return ;;
        "release --until") return ;;
        "edit --command") return ;;
        "edit --queue"|"edit -q") return ;;
        "edit --retries"|"edit -r") return ;;
        "edit --backoff") return ;;
        "edit --retry-on") return ;;
        "edit --no-retry-on") return ;;
        "edit --success-codes") return ;;
        "edit --max-lost") return ;;
        "edit --timeout"|"edit -t") return ;;
        "edit --idle-timeout") return ;;
        "edit --grace") return ;;
        "edit --log-max") return ;;
        "edit --at") return ;;
        "edit --in") return ;;
        "edit --expires") return ;;
        "edit --after") return ;;
        "edit --after-any") return ;;
        "edit --after-fail") return ;;
        "edit --lock") return ;;
        "edit --need") return ;;
        "edit --slots") return ;;
        "edit --label") return ;;
        "edit --meta") return ;;
        "edit --key") return ;;
        "edit --key-ttl") return ;;
        "edit --name"|"edit -n") return ;;
        "edit --stdin") _jobq_files; return ;;
        "edit --stderr") _jobq_files; return ;;
        "edit --cwd"|"edit -C") _jobq_files; return ;;
        "edit --env"|"edit -e") return ;;
        "edit --env-file") _jobq_files; return ;;
        "move --before") return ;;
        "move --queue"|"move -q") return ;;
        "move --label") return ;;
        "move --grep") return ;;
        "move --since") return ;;
        "move --until") return ;;
        "pause --reason") return ;;
        "pause --for") return ;;
        "queue --limit") return ;;
        "queue --capacity") return ;;
        "schedule --tz") return ;;
        "schedule --missed") return ;;
        "schedule --overlap") return ;;
        "schedule --queue"|"schedule -q") return ;;
        "schedule --retries"|"schedule -r") return ;;
        "schedule --backoff") return ;;
        "schedule --retry-on") return ;;
        "schedule --no-retry-on") return ;;
        "schedule --success-codes") return ;;
        "schedule --max-lost") return ;;
        "schedule --timeout"|"schedule -t") return ;;
        "schedule --idle-timeout") return ;;
        "schedule --grace") return ;;
        "schedule --log-max") return ;;
        "schedule --expires") return ;;
        "schedule --lock") return ;;
        "schedule --need") return ;;
        "schedule --slots") return ;;
        "schedule --label") return ;;
        "schedule --meta") return ;;
        "schedule --key") return ;;
        "schedule --key-ttl") return ;;
        "schedule --stdin") _jobq_files; return ;;
        "schedule --stderr") _jobq_files; return ;;
        "schedule --cwd"|"schedule -C") _jobq_files; return ;;
        "schedule --env"|"schedule -e") return ;;
        "schedule --env-file") _jobq_files; return ;;
        "schedule --when") return ;;
        "schedule -n") return ;;
        "ack --queue"|"ack -q") return ;;
        "ack --label") return ;;
        "ack --grep") return ;;
        "ack --since") return ;;
        "ack --until") return ;;
        "rm --queue"|"rm -q") return ;;
        "rm --label") return ;;
        "rm --grep") return ;;
        "rm --since") return ;;
        "rm --until") return ;;
        "clean --older-than") return ;;
        "clean --keep") return ;;
    esac
    case "$command" in
        "") words="add call run worker slots list show log wait cancel requeue again hold release edit move pause resume queue schedule config init resource ack rm clean du doctor completion --store --version -V --help -h" ;;
        "add") words="--from --jsonl --exec --shell --dry-run --json --queue -q --priority -p --retries -r --backoff --jitter --retry-on --no-retry-on --success-codes --max-lost --timeout -t --idle-timeout --grace --log-max --at --in --expires --after --after-any --after-fail --lock --need --slots --label --meta --key --once --unique --key-ttl --on-conflict --hold --wait-room --name -n --stdin --stderr --cwd -C --env -e --env-file --help -h" ;;
        "call") words="--python --json --queue -q --priority -p --retries -r --backoff --jitter --retry-on --no-retry-on --success-codes --max-lost --timeout -t --idle-timeout --grace --log-max --at --in --expires --after --after-any --after-fail --lock --need --slots --label --meta --key --once --unique --key-ttl --on-conflict --hold --wait-room --name -n --stdin --stderr --cwd -C --env -e --env-file --help -h" ;;
        "run") words="--from --jobs -j --exec --shell --queue -q --priority -p --retries -r --backoff --jitter --retry-on --no-retry-on --success-codes --max-lost --timeout -t --idle-timeout --grace --log-max --at --in --expires --after --after-any --after-fail --lock --need --slots --label --meta --name -n --stdin --stderr --cwd -C --env -e --env-file --help -h" ;;
        "worker") words="stop log list --jobs -j --queue -q --drain --stop-after --detach --on-stop --help -h --pid --hand-back --wait -w --tail --json" ;;
        "slots") words="--pid --help -h" ;;
        "list") words="--all -a --tree --json --state -s --queue -q --label --grep --since --until --help -h @queued @held @running @succeeded @failed @cancelled @skipped @expired" ;;
        "show") words="--json --state -s --queue -q --label --grep --since --until --help -h @queued @held @running @succeeded @failed @cancelled @skipped @expired" ;;
        "log") words="--follow -f --tail --attempt --stderr --raw --help -h @queued @held @running @succeeded @failed @cancelled @skipped @expired" ;;
        "wait") words="--timeout -t --state -s --queue -q --label --grep --since --until --help -h @queued @held @running @succeeded @failed @cancelled @skipped @expired" ;;
        "cancel") words="--wait -w --verbose -v --state -s --queue -q --label --grep --since --until --help -h @queued @held @running @succeeded @failed @cancelled @skipped @expired" ;;
        "requeue") words="--verbose -v --state -s --queue -q --label --grep --since --until --help -h @queued @held @running @succeeded @failed @cancelled @skipped @expired" ;;
        "again") words="--json --queue -q --priority -p --retries -r --backoff --jitter --retry-on --no-retry-on --success-codes --max-lost --timeout -t --idle-timeout --grace --log-max --at --in --expires --after --after-any --after-fail --lock --need --slots --label --meta --hold --wait-room --name -n --stdin --stderr --cwd -C --env -e --env-file --help -h @queued @held @running @succeeded @failed @cancelled @skipped @expired" ;;
        "hold") words="--verbose -v --state -s --queue -q --label --grep --since --until --help -h @queued @held @running @succeeded @failed @cancelled @skipped @expired" ;;
        "release") words="--verbose -v --state -s --queue -q --label --grep --since --until --help -h @queued @held @running @succeeded @failed @cancelled @skipped @expired" ;;
        "edit") words="--verbose -v --command --queue -q --priority -p --retries -r --backoff --jitter --retry-on --no-retry-on --success-codes --max-lost --timeout -t --idle-timeout --grace --log-max --at --in --expires --after --after-any --after-fail --lock --need --slots --label --meta --key --once --unique --key-ttl --name -n --stdin --stderr --cwd -C --env -e --env-file --help -h @queued @held @running @succeeded @failed @cancelled @skipped @expired" ;;
        "move") words="--top --before --verbose -v --state -s --queue -q --label --grep --since --until --help -h @queued @held @running @succeeded @failed @cancelled @skipped @expired" ;;
        "pause") words="--reason --for --help -h" ;;
        "resume") words="--help -h" ;;
        "queue") words="set rm --json --help -h --limit --capacity" ;;
        "schedule") words="add show update pause resume rm run next why import --json --help -h --tz --missed --overlap --exec --shell --queue -q --priority -p --retries -r --backoff --jitter --retry-on --no-retry-on --success-codes --max-lost --timeout -t --idle-timeout --grace --log-max --expires --lock --need --slots --label --meta --key --once --unique --key-ttl --stdin --stderr --cwd -C --env -e --env-file --when -n --system --dry-run" ;;
        "config") words="--json --help -h --project @queued @held @running @succeeded @failed @cancelled @skipped @expired" ;;
        "init") words="--trust --help -h @queued @held @running @succeeded @failed @cancelled @skipped @expired" ;;
        "resource") words="--json --help -h @queued @held @running @succeeded @failed @cancelled @skipped @expired" ;;
        "ack") words="--verbose -v --state -s --queue -q --label --grep --since --until --help -h @queued @held @running @succeeded @failed @cancelled @skipped @expired" ;;
        "rm") words="--verbose -v --state -s --queue -q --label --grep --since --until --help -h @queued @held @running @succeeded @failed @cancelled @skipped @expired" ;;
        "clean") words="--older-than --keep --dry-run --help -h" ;;
        "du") words="--json --help -h" ;;
        "doctor") words="--accept-loss --help -h" ;;
        "completion") words="bash zsh fish --help -h" ;;
    esac
    _jobq_words "$words"
    [ "${cur#-}" = "$cur" ] || return
    case "$command" in add|run) COMPREPLY=($(compgen -c -- "$cur")) ;; esac
}
complete -F _jobq jobq
