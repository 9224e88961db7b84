complete -c fdbrokerd -l policy -d 'The policy file [default: /etc/fdbroker/policy.toml]. If the default file does not exist, the built-in policy applies: the user that starts the broker may do everything with tags 0 to 31, and nobody else may do anything' -r -F
complete -c fdbrokerd -l socket -d 'The socket to listen on [default: /run/fdbroker/fdbroker.sock as root, else $XDG_RUNTIME_DIR/fdbroker.sock]. Ignored when a listening socket is passed in (LISTEN_FDS)' -r -F
complete -c fdbrokerd -l log-format -d 'The format of the log [default: journald if standard error is connected to the journal, else text]' -r -f -a "text\t'A line for a person, on standard error'
json\t'A JSON object on a line of its own, on standard error'
journald\t'Native entries with fields, to the journal'"
complete -c fdbrokerd -l audit-file -d 'Also append each record of the audit trail to this file, one JSON object a line. Created if missing; reopened on SIGHUP. With audit = "required" in the policy, requests that cannot be recorded are refused' -r -F
complete -c fdbrokerd -l state-directory -d 'The directory for the last policy that was in force. If the policy does not load at start, the broker starts under that one. `none` keeps none [default: $STATE_DIRECTORY; without it, /var/lib/fdbroker for root and the default policy file, else none]' -r -F
complete -c fdbrokerd -l subuid -d 'The file that says which user ids belong to which user [default: /etc/subuid]. Limits count such an id as the user that it belongs to. Read again with the policy' -r -F
complete -c fdbrokerd -l ready-fd -d 'Write a newline to this descriptor, and close it, when the broker is ready. If the broker does not start, write the reason, without a newline' -r
complete -c fdbrokerd -l replace -d 'Take over from the broker that listens on the same socket: its deposits, the socket, and who owns which tag. It goes on until this one serves, and then ends. If this one does not start, it goes on as before. If no broker runs there, this one starts as without the option'
complete -c fdbrokerd -l worker -d 'This process is the worker; the supervisor is at the other end of standard input'
complete -c fdbrokerd -l closer -d 'This process is a closer; its worker is at the other end of standard input'
complete -c fdbrokerd -l helper -d 'This process is a helper, which makes one connection; the supervisor is at the other end of standard input'
complete -c fdbrokerd -l program -d 'This process becomes a program of the operator\'s, which logs in to a server; the supervisor is at the other end of standard input'
complete -c fdbrokerd -l lookup -d 'This process looks names up; the supervisor is at the other end of standard input'
complete -c fdbrokerd -s h -l help -d 'Print help (see more with \'--help\')'
complete -c fdbrokerd -s V -l version -d 'Print version'
