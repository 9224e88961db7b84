# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_fdbroker_global_optspecs
    string join \n socket= trust-uid= trust-anyone timeout= policy= h/help V/version
end

function __fish_fdbroker_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_fdbroker_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_fdbroker_using_subcommand
    set -l cmd (__fish_fdbroker_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c fdbroker -n "__fish_fdbroker_needs_command" -l socket -d 'The broker\'s socket [default: $FDBROKER_SOCKET, else /run/fdbroker/fdbroker.sock, else $XDG_RUNTIME_DIR/fdbroker.sock]' -r -F
complete -c fdbroker -n "__fish_fdbroker_needs_command" -l trust-uid -d 'Trust only a broker that runs as this user id, instead of root or you' -r
complete -c fdbroker -n "__fish_fdbroker_needs_command" -l timeout -d 'Time limit for an answer, such as 500ms, 10s or 2m [default: no limit, since a request on a serial tag waits for its turn; 10s for status and leases]' -r
complete -c fdbroker -n "__fish_fdbroker_needs_command" -l policy -d 'Look names up in this policy file instead of asking the broker [default: $FDBROKER_POLICY; without either, the broker is asked]' -r -F
complete -c fdbroker -n "__fish_fdbroker_needs_command" -l trust-anyone -d 'Trust a broker that runs as any user'
complete -c fdbroker -n "__fish_fdbroker_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c fdbroker -n "__fish_fdbroker_needs_command" -s V -l version -d 'Print version'
complete -c fdbroker -n "__fish_fdbroker_needs_command" -f -a "get" -d 'Write the payload of a slot to standard output, or describe the deposit'
complete -c fdbroker -n "__fish_fdbroker_needs_command" -f -a "add" -d 'Deposit a payload, a descriptor, or both'
complete -c fdbroker -n "__fish_fdbroker_needs_command" -f -a "del" -d 'Delete the deposit of a slot'
complete -c fdbroker -n "__fish_fdbroker_needs_command" -f -a "tag" -d 'Show how much a tag holds'
complete -c fdbroker -n "__fish_fdbroker_needs_command" -f -a "list" -d 'List the slots that you may see, and their deposits'
complete -c fdbroker -n "__fish_fdbroker_needs_command" -f -a "exec" -d 'Run a program with the descriptors of slots as 3, 4, ..., as socket activation does, or with a socket that leads to a server'
complete -c fdbroker -n "__fish_fdbroker_needs_command" -f -a "reload" -d 'Tell the broker to read its policy again'
complete -c fdbroker -n "__fish_fdbroker_needs_command" -f -a "purge" -d 'Delete deposits that no rule of the policy reaches any more'
complete -c fdbroker -n "__fish_fdbroker_needs_command" -f -a "status" -d 'Show the state of the broker'
complete -c fdbroker -n "__fish_fdbroker_needs_command" -f -a "sessions" -d 'List who is connected to the broker, what each owns, and what it waits for'
complete -c fdbroker -n "__fish_fdbroker_needs_command" -f -a "quota" -d 'Show how much of the broker users have, of what they may have'
complete -c fdbroker -n "__fish_fdbroker_needs_command" -f -a "leases" -d 'List who has connections that can be revoked: you, or as an operator everybody'
complete -c fdbroker -n "__fish_fdbroker_needs_command" -f -a "revoke" -d 'End leases, and shut the connections down'
complete -c fdbroker -n "__fish_fdbroker_needs_command" -f -a "check" -d 'Check policy files as the broker does, and print all mistakes'
complete -c fdbroker -n "__fish_fdbroker_needs_command" -f -a "explain" -d 'Explain whether the policy grants a user a right, and what each rule contributes'
complete -c fdbroker -n "__fish_fdbroker_needs_command" -f -a "who" -d 'Show who has which right to a slot, or to the broker itself, by the rules of a policy file'
complete -c fdbroker -n "__fish_fdbroker_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand get" -l socket -d 'The broker\'s socket [default: $FDBROKER_SOCKET, else /run/fdbroker/fdbroker.sock, else $XDG_RUNTIME_DIR/fdbroker.sock]' -r -F
complete -c fdbroker -n "__fish_fdbroker_using_subcommand get" -l trust-uid -d 'Trust only a broker that runs as this user id, instead of root or you' -r
complete -c fdbroker -n "__fish_fdbroker_using_subcommand get" -l timeout -d 'Time limit for an answer, such as 500ms, 10s or 2m [default: no limit, since a request on a serial tag waits for its turn; 10s for status and leases]' -r
complete -c fdbroker -n "__fish_fdbroker_using_subcommand get" -l policy -d 'Look names up in this policy file instead of asking the broker [default: $FDBROKER_POLICY; without either, the broker is asked]' -r -F
complete -c fdbroker -n "__fish_fdbroker_using_subcommand get" -l json -d 'Write one JSON object instead: slot, ufd, payload or connection, descriptor'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand get" -l trust-anyone -d 'Trust a broker that runs as any user'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand get" -s h -l help -d 'Print help'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand add" -l payload -d 'The payload: a file\'s content, or - for standard input; at most 32768 bytes' -r -F
complete -c fdbroker -n "__fish_fdbroker_using_subcommand add" -l fd -d 'Deposit the inherited descriptor with this number' -r
complete -c fdbroker -n "__fish_fdbroker_using_subcommand add" -l open -d 'Open a file and deposit its descriptor' -r -F
complete -c fdbroker -n "__fish_fdbroker_using_subcommand add" -l access -d 'The access to open it with' -r -f -a "read\t''
write\t''
read-write\t''"
complete -c fdbroker -n "__fish_fdbroker_using_subcommand add" -l listen -d 'Listen, and deposit the listening socket: tcp:ADDRESS:PORT or unix:PATH' -r
complete -c fdbroker -n "__fish_fdbroker_using_subcommand add" -l socket -d 'The broker\'s socket [default: $FDBROKER_SOCKET, else /run/fdbroker/fdbroker.sock, else $XDG_RUNTIME_DIR/fdbroker.sock]' -r -F
complete -c fdbroker -n "__fish_fdbroker_using_subcommand add" -l trust-uid -d 'Trust only a broker that runs as this user id, instead of root or you' -r
complete -c fdbroker -n "__fish_fdbroker_using_subcommand add" -l timeout -d 'Time limit for an answer, such as 500ms, 10s or 2m [default: no limit, since a request on a serial tag waits for its turn; 10s for status and leases]' -r
complete -c fdbroker -n "__fish_fdbroker_using_subcommand add" -l policy -d 'Look names up in this policy file instead of asking the broker [default: $FDBROKER_POLICY; without either, the broker is asked]' -r -F
complete -c fdbroker -n "__fish_fdbroker_using_subcommand add" -l trust-anyone -d 'Trust a broker that runs as any user'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand add" -s h -l help -d 'Print help'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand del" -l socket -d 'The broker\'s socket [default: $FDBROKER_SOCKET, else /run/fdbroker/fdbroker.sock, else $XDG_RUNTIME_DIR/fdbroker.sock]' -r -F
complete -c fdbroker -n "__fish_fdbroker_using_subcommand del" -l trust-uid -d 'Trust only a broker that runs as this user id, instead of root or you' -r
complete -c fdbroker -n "__fish_fdbroker_using_subcommand del" -l timeout -d 'Time limit for an answer, such as 500ms, 10s or 2m [default: no limit, since a request on a serial tag waits for its turn; 10s for status and leases]' -r
complete -c fdbroker -n "__fish_fdbroker_using_subcommand del" -l policy -d 'Look names up in this policy file instead of asking the broker [default: $FDBROKER_POLICY; without either, the broker is asked]' -r -F
complete -c fdbroker -n "__fish_fdbroker_using_subcommand del" -l trust-anyone -d 'Trust a broker that runs as any user'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand del" -s h -l help -d 'Print help'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand tag" -l socket -d 'The broker\'s socket [default: $FDBROKER_SOCKET, else /run/fdbroker/fdbroker.sock, else $XDG_RUNTIME_DIR/fdbroker.sock]' -r -F
complete -c fdbroker -n "__fish_fdbroker_using_subcommand tag" -l trust-uid -d 'Trust only a broker that runs as this user id, instead of root or you' -r
complete -c fdbroker -n "__fish_fdbroker_using_subcommand tag" -l timeout -d 'Time limit for an answer, such as 500ms, 10s or 2m [default: no limit, since a request on a serial tag waits for its turn; 10s for status and leases]' -r
complete -c fdbroker -n "__fish_fdbroker_using_subcommand tag" -l policy -d 'Look names up in this policy file instead of asking the broker [default: $FDBROKER_POLICY; without either, the broker is asked]' -r -F
complete -c fdbroker -n "__fish_fdbroker_using_subcommand tag" -l json -d 'Write one JSON object instead: tag, used, total'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand tag" -l trust-anyone -d 'Trust a broker that runs as any user'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand tag" -s h -l help -d 'Print help'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand list" -l socket -d 'The broker\'s socket [default: $FDBROKER_SOCKET, else /run/fdbroker/fdbroker.sock, else $XDG_RUNTIME_DIR/fdbroker.sock]' -r -F
complete -c fdbroker -n "__fish_fdbroker_using_subcommand list" -l trust-uid -d 'Trust only a broker that runs as this user id, instead of root or you' -r
complete -c fdbroker -n "__fish_fdbroker_using_subcommand list" -l timeout -d 'Time limit for an answer, such as 500ms, 10s or 2m [default: no limit, since a request on a serial tag waits for its turn; 10s for status and leases]' -r
complete -c fdbroker -n "__fish_fdbroker_using_subcommand list" -l policy -d 'Look names up in this policy file instead of asking the broker [default: $FDBROKER_POLICY; without either, the broker is asked]' -r -F
complete -c fdbroker -n "__fish_fdbroker_using_subcommand list" -l json -d 'Write one JSON array instead, of objects with: slot, name, kind, resource, relay, unreachable, here_only, owner, user, payload_bytes, pid, unit, since, age (in seconds), address'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand list" -l trust-anyone -d 'Trust a broker that runs as any user'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand list" -s h -l help -d 'Print help'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand exec" -l socket -d 'The broker\'s socket [default: $FDBROKER_SOCKET, else /run/fdbroker/fdbroker.sock, else $XDG_RUNTIME_DIR/fdbroker.sock]' -r -F
complete -c fdbroker -n "__fish_fdbroker_using_subcommand exec" -l trust-uid -d 'Trust only a broker that runs as this user id, instead of root or you' -r
complete -c fdbroker -n "__fish_fdbroker_using_subcommand exec" -l timeout -d 'Time limit for an answer, such as 500ms, 10s or 2m [default: no limit, since a request on a serial tag waits for its turn; 10s for status and leases]' -r
complete -c fdbroker -n "__fish_fdbroker_using_subcommand exec" -l policy -d 'Look names up in this policy file instead of asking the broker [default: $FDBROKER_POLICY; without either, the broker is asked]' -r -F
complete -c fdbroker -n "__fish_fdbroker_using_subcommand exec" -l trust-depositor -d 'With SLOT=PROTOCOL, accept a connection that a user has deposited, too. Its depositor then says which server it leads to, and as which user'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand exec" -l trust-anyone -d 'Trust a broker that runs as any user'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand exec" -s h -l help -d 'Print help'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand reload" -l signal -d 'Ask by SIGHUP, which needs no rule, and wait until it is done: the broker\'s process id' -r
complete -c fdbroker -n "__fish_fdbroker_using_subcommand reload" -l socket -d 'The broker\'s socket [default: $FDBROKER_SOCKET, else /run/fdbroker/fdbroker.sock, else $XDG_RUNTIME_DIR/fdbroker.sock]' -r -F
complete -c fdbroker -n "__fish_fdbroker_using_subcommand reload" -l trust-uid -d 'Trust only a broker that runs as this user id, instead of root or you' -r
complete -c fdbroker -n "__fish_fdbroker_using_subcommand reload" -l timeout -d 'Time limit for an answer, such as 500ms, 10s or 2m [default: no limit, since a request on a serial tag waits for its turn; 10s for status and leases]' -r
complete -c fdbroker -n "__fish_fdbroker_using_subcommand reload" -l policy -d 'Look names up in this policy file instead of asking the broker [default: $FDBROKER_POLICY; without either, the broker is asked]' -r -F
complete -c fdbroker -n "__fish_fdbroker_using_subcommand reload" -l trust-anyone -d 'Trust a broker that runs as any user'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand reload" -s h -l help -d 'Print help'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand purge" -l socket -d 'The broker\'s socket [default: $FDBROKER_SOCKET, else /run/fdbroker/fdbroker.sock, else $XDG_RUNTIME_DIR/fdbroker.sock]' -r -F
complete -c fdbroker -n "__fish_fdbroker_using_subcommand purge" -l trust-uid -d 'Trust only a broker that runs as this user id, instead of root or you' -r
complete -c fdbroker -n "__fish_fdbroker_using_subcommand purge" -l timeout -d 'Time limit for an answer, such as 500ms, 10s or 2m [default: no limit, since a request on a serial tag waits for its turn; 10s for status and leases]' -r
complete -c fdbroker -n "__fish_fdbroker_using_subcommand purge" -l policy -d 'Look names up in this policy file instead of asking the broker [default: $FDBROKER_POLICY; without either, the broker is asked]' -r -F
complete -c fdbroker -n "__fish_fdbroker_using_subcommand purge" -l all -d 'Every deposit that no rule of the policy reaches'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand purge" -l trust-anyone -d 'Trust a broker that runs as any user'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand purge" -s h -l help -d 'Print help'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand status" -l socket -d 'The broker\'s socket [default: $FDBROKER_SOCKET, else /run/fdbroker/fdbroker.sock, else $XDG_RUNTIME_DIR/fdbroker.sock]' -r -F
complete -c fdbroker -n "__fish_fdbroker_using_subcommand status" -l trust-uid -d 'Trust only a broker that runs as this user id, instead of root or you' -r
complete -c fdbroker -n "__fish_fdbroker_using_subcommand status" -l timeout -d 'Time limit for an answer, such as 500ms, 10s or 2m [default: no limit, since a request on a serial tag waits for its turn; 10s for status and leases]' -r
complete -c fdbroker -n "__fish_fdbroker_using_subcommand status" -l policy -d 'Look names up in this policy file instead of asking the broker [default: $FDBROKER_POLICY; without either, the broker is asked]' -r -F
complete -c fdbroker -n "__fish_fdbroker_using_subcommand status" -l trust-anyone -d 'Trust a broker that runs as any user'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand status" -s h -l help -d 'Print help'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand sessions" -l socket -d 'The broker\'s socket [default: $FDBROKER_SOCKET, else /run/fdbroker/fdbroker.sock, else $XDG_RUNTIME_DIR/fdbroker.sock]' -r -F
complete -c fdbroker -n "__fish_fdbroker_using_subcommand sessions" -l trust-uid -d 'Trust only a broker that runs as this user id, instead of root or you' -r
complete -c fdbroker -n "__fish_fdbroker_using_subcommand sessions" -l timeout -d 'Time limit for an answer, such as 500ms, 10s or 2m [default: no limit, since a request on a serial tag waits for its turn; 10s for status and leases]' -r
complete -c fdbroker -n "__fish_fdbroker_using_subcommand sessions" -l policy -d 'Look names up in this policy file instead of asking the broker [default: $FDBROKER_POLICY; without either, the broker is asked]' -r -F
complete -c fdbroker -n "__fish_fdbroker_using_subcommand sessions" -l json -d 'Write one JSON array instead, of objects with: pid, program, uid, user, unit, since, age (in seconds), asks, owns, waits'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand sessions" -l trust-anyone -d 'Trust a broker that runs as any user'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand sessions" -s h -l help -d 'Print help'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand quota" -l socket -d 'The broker\'s socket [default: $FDBROKER_SOCKET, else /run/fdbroker/fdbroker.sock, else $XDG_RUNTIME_DIR/fdbroker.sock]' -r -F
complete -c fdbroker -n "__fish_fdbroker_using_subcommand quota" -l trust-uid -d 'Trust only a broker that runs as this user id, instead of root or you' -r
complete -c fdbroker -n "__fish_fdbroker_using_subcommand quota" -l timeout -d 'Time limit for an answer, such as 500ms, 10s or 2m [default: no limit, since a request on a serial tag waits for its turn; 10s for status and leases]' -r
complete -c fdbroker -n "__fish_fdbroker_using_subcommand quota" -l policy -d 'Look names up in this policy file instead of asking the broker [default: $FDBROKER_POLICY; without either, the broker is asked]' -r -F
complete -c fdbroker -n "__fish_fdbroker_using_subcommand quota" -l json -d 'Write one JSON array instead, of objects with: uid, user, connections, deposits, bytes, descriptors, each also with max_ before it, and opening'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand quota" -l trust-anyone -d 'Trust a broker that runs as any user'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand quota" -s h -l help -d 'Print help'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand leases" -l socket -d 'The broker\'s socket [default: $FDBROKER_SOCKET, else /run/fdbroker/fdbroker.sock, else $XDG_RUNTIME_DIR/fdbroker.sock]' -r -F
complete -c fdbroker -n "__fish_fdbroker_using_subcommand leases" -l trust-uid -d 'Trust only a broker that runs as this user id, instead of root or you' -r
complete -c fdbroker -n "__fish_fdbroker_using_subcommand leases" -l timeout -d 'Time limit for an answer, such as 500ms, 10s or 2m [default: no limit, since a request on a serial tag waits for its turn; 10s for status and leases]' -r
complete -c fdbroker -n "__fish_fdbroker_using_subcommand leases" -l policy -d 'Look names up in this policy file instead of asking the broker [default: $FDBROKER_POLICY; without either, the broker is asked]' -r -F
complete -c fdbroker -n "__fish_fdbroker_using_subcommand leases" -l json -d 'Write one JSON array instead, of objects with the same keys; never and none are null'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand leases" -l trust-anyone -d 'Trust a broker that runs as any user'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand leases" -s h -l help -d 'Print help'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand revoke" -l user -d 'End all leases of this user, by name or number; with SLOT, those of that slot' -r
complete -c fdbroker -n "__fish_fdbroker_using_subcommand revoke" -l socket -d 'The broker\'s socket [default: $FDBROKER_SOCKET, else /run/fdbroker/fdbroker.sock, else $XDG_RUNTIME_DIR/fdbroker.sock]' -r -F
complete -c fdbroker -n "__fish_fdbroker_using_subcommand revoke" -l trust-uid -d 'Trust only a broker that runs as this user id, instead of root or you' -r
complete -c fdbroker -n "__fish_fdbroker_using_subcommand revoke" -l timeout -d 'Time limit for an answer, such as 500ms, 10s or 2m [default: no limit, since a request on a serial tag waits for its turn; 10s for status and leases]' -r
complete -c fdbroker -n "__fish_fdbroker_using_subcommand revoke" -l policy -d 'Look names up in this policy file instead of asking the broker [default: $FDBROKER_POLICY; without either, the broker is asked]' -r -F
complete -c fdbroker -n "__fish_fdbroker_using_subcommand revoke" -l trust-anyone -d 'Trust a broker that runs as any user'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand revoke" -s h -l help -d 'Print help'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand check" -l at -d 'With --diff: compare for this time, such as 2026-12-31T23:00:00Z [default: now]' -r
complete -c fdbroker -n "__fish_fdbroker_using_subcommand check" -l socket -d 'The broker\'s socket [default: $FDBROKER_SOCKET, else /run/fdbroker/fdbroker.sock, else $XDG_RUNTIME_DIR/fdbroker.sock]' -r -F
complete -c fdbroker -n "__fish_fdbroker_using_subcommand check" -l trust-uid -d 'Trust only a broker that runs as this user id, instead of root or you' -r
complete -c fdbroker -n "__fish_fdbroker_using_subcommand check" -l timeout -d 'Time limit for an answer, such as 500ms, 10s or 2m [default: no limit, since a request on a serial tag waits for its turn; 10s for status and leases]' -r
complete -c fdbroker -n "__fish_fdbroker_using_subcommand check" -l policy -d 'Look names up in this policy file instead of asking the broker [default: $FDBROKER_POLICY; without either, the broker is asked]' -r -F
complete -c fdbroker -n "__fish_fdbroker_using_subcommand check" -l diff -d 'Compare two files, OLD and NEW: who gains and who loses which right, and which resources, tags and settings change'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand check" -l json -d 'With --diff: write one JSON object instead of a table'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand check" -l trust-anyone -d 'Trust a broker that runs as any user'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand explain" -l user -d 'Ask for this user, by name or number' -r
complete -c fdbroker -n "__fish_fdbroker_using_subcommand explain" -l group -d 'Ask for a member of this group, by name or number; can be given several times [default: the groups that the user has on this machine]' -r
complete -c fdbroker -n "__fish_fdbroker_using_subcommand explain" -l unit -d 'Ask for a process of this unit [default: the unit that --cgroup belongs to]' -r
complete -c fdbroker -n "__fish_fdbroker_using_subcommand explain" -l cgroup -d 'Ask for a process of this control group' -r
complete -c fdbroker -n "__fish_fdbroker_using_subcommand explain" -l label -d 'Ask for a process with this security label' -r
complete -c fdbroker -n "__fish_fdbroker_using_subcommand explain" -l pid -d 'Ask for this living process: its user, groups, unit, control group and label' -r
complete -c fdbroker -n "__fish_fdbroker_using_subcommand explain" -l at -d 'Ask for this time, such as 2026-12-31T23:00:00Z [default: now]' -r
complete -c fdbroker -n "__fish_fdbroker_using_subcommand explain" -l socket -d 'The broker\'s socket [default: $FDBROKER_SOCKET, else /run/fdbroker/fdbroker.sock, else $XDG_RUNTIME_DIR/fdbroker.sock]' -r -F
complete -c fdbroker -n "__fish_fdbroker_using_subcommand explain" -l trust-uid -d 'Trust only a broker that runs as this user id, instead of root or you' -r
complete -c fdbroker -n "__fish_fdbroker_using_subcommand explain" -l timeout -d 'Time limit for an answer, such as 500ms, 10s or 2m [default: no limit, since a request on a serial tag waits for its turn; 10s for status and leases]' -r
complete -c fdbroker -n "__fish_fdbroker_using_subcommand explain" -l policy -d 'Look names up in this policy file instead of asking the broker [default: $FDBROKER_POLICY; without either, the broker is asked]' -r -F
complete -c fdbroker -n "__fish_fdbroker_using_subcommand explain" -l json -d 'Write one JSON object instead'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand explain" -l trust-anyone -d 'Trust a broker that runs as any user'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand explain" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand who" -l at -d 'Show the rights at this time, such as 2026-12-31T23:00:00Z [default: now]' -r
complete -c fdbroker -n "__fish_fdbroker_using_subcommand who" -l socket -d 'The broker\'s socket [default: $FDBROKER_SOCKET, else /run/fdbroker/fdbroker.sock, else $XDG_RUNTIME_DIR/fdbroker.sock]' -r -F
complete -c fdbroker -n "__fish_fdbroker_using_subcommand who" -l trust-uid -d 'Trust only a broker that runs as this user id, instead of root or you' -r
complete -c fdbroker -n "__fish_fdbroker_using_subcommand who" -l timeout -d 'Time limit for an answer, such as 500ms, 10s or 2m [default: no limit, since a request on a serial tag waits for its turn; 10s for status and leases]' -r
complete -c fdbroker -n "__fish_fdbroker_using_subcommand who" -l policy -d 'Look names up in this policy file instead of asking the broker [default: $FDBROKER_POLICY; without either, the broker is asked]' -r -F
complete -c fdbroker -n "__fish_fdbroker_using_subcommand who" -l json -d 'Write one JSON object instead of a table'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand who" -l trust-anyone -d 'Trust a broker that runs as any user'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand who" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand help; and not __fish_seen_subcommand_from get add del tag list exec reload purge status sessions quota leases revoke check explain who help" -f -a "get" -d 'Write the payload of a slot to standard output, or describe the deposit'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand help; and not __fish_seen_subcommand_from get add del tag list exec reload purge status sessions quota leases revoke check explain who help" -f -a "add" -d 'Deposit a payload, a descriptor, or both'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand help; and not __fish_seen_subcommand_from get add del tag list exec reload purge status sessions quota leases revoke check explain who help" -f -a "del" -d 'Delete the deposit of a slot'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand help; and not __fish_seen_subcommand_from get add del tag list exec reload purge status sessions quota leases revoke check explain who help" -f -a "tag" -d 'Show how much a tag holds'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand help; and not __fish_seen_subcommand_from get add del tag list exec reload purge status sessions quota leases revoke check explain who help" -f -a "list" -d 'List the slots that you may see, and their deposits'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand help; and not __fish_seen_subcommand_from get add del tag list exec reload purge status sessions quota leases revoke check explain who help" -f -a "exec" -d 'Run a program with the descriptors of slots as 3, 4, ..., as socket activation does, or with a socket that leads to a server'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand help; and not __fish_seen_subcommand_from get add del tag list exec reload purge status sessions quota leases revoke check explain who help" -f -a "reload" -d 'Tell the broker to read its policy again'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand help; and not __fish_seen_subcommand_from get add del tag list exec reload purge status sessions quota leases revoke check explain who help" -f -a "purge" -d 'Delete deposits that no rule of the policy reaches any more'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand help; and not __fish_seen_subcommand_from get add del tag list exec reload purge status sessions quota leases revoke check explain who help" -f -a "status" -d 'Show the state of the broker'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand help; and not __fish_seen_subcommand_from get add del tag list exec reload purge status sessions quota leases revoke check explain who help" -f -a "sessions" -d 'List who is connected to the broker, what each owns, and what it waits for'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand help; and not __fish_seen_subcommand_from get add del tag list exec reload purge status sessions quota leases revoke check explain who help" -f -a "quota" -d 'Show how much of the broker users have, of what they may have'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand help; and not __fish_seen_subcommand_from get add del tag list exec reload purge status sessions quota leases revoke check explain who help" -f -a "leases" -d 'List who has connections that can be revoked: you, or as an operator everybody'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand help; and not __fish_seen_subcommand_from get add del tag list exec reload purge status sessions quota leases revoke check explain who help" -f -a "revoke" -d 'End leases, and shut the connections down'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand help; and not __fish_seen_subcommand_from get add del tag list exec reload purge status sessions quota leases revoke check explain who help" -f -a "check" -d 'Check policy files as the broker does, and print all mistakes'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand help; and not __fish_seen_subcommand_from get add del tag list exec reload purge status sessions quota leases revoke check explain who help" -f -a "explain" -d 'Explain whether the policy grants a user a right, and what each rule contributes'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand help; and not __fish_seen_subcommand_from get add del tag list exec reload purge status sessions quota leases revoke check explain who help" -f -a "who" -d 'Show who has which right to a slot, or to the broker itself, by the rules of a policy file'
complete -c fdbroker -n "__fish_fdbroker_using_subcommand help; and not __fish_seen_subcommand_from get add del tag list exec reload purge status sessions quota leases revoke check explain who help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
