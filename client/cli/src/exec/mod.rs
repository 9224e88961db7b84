//! `fdbroker exec`: runs a program with what slots hold: with descriptors ([`activation`]), or with a socket that
//! leads to a server ([`relay`]).

mod activation;
mod lost_listener;
mod relay;
mod wanted;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Args;
use fdbroker::Slot;

use crate::connect_args::ConnectArgs;
use crate::failure::Failure;
use crate::lazy_broker::LazyBroker;
use activation::Passed;
use relay::{Relay, Source};
use wanted::{Form, Wanted};

/// Run a program with the descriptors of slots as 3, 4, ..., as socket activation does, or with a
/// socket that leads to a server
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Exec {
    /// The slots, in the order of their descriptors, each with its name for LISTEN_FDNAMES
    /// [default name: the slot as given, with a dot for the slash]. SLOT=postgres, SLOT=mysql,
    /// SLOT=redis, SLOT=socks5 and SLOT=http-proxy, also with :PREFIX behind, relay to the server
    /// instead
    #[arg(required = true, value_name = "SLOT[=NAME]", value_parser = Wanted::parse)]
    slots: Vec<Wanted>,
    /// With SLOT=PROTOCOL, accept a connection that a user has deposited, too. Its depositor then
    /// says which server it leads to, and as which user
    #[arg(long)]
    trust_depositor: bool,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

const EXAMPLES: &str = "\
Examples:
  fdbroker exec web/0=http web/1=https -- /usr/sbin/some-server --foreground
  fdbroker exec tun -- qemu-system-x86_64 -netdev tap,id=net0,fd=3 ...
  fdbroker exec 1/1 -- sh -c 'head -n 3 <&3'
  fdbroker exec orders=postgres -- psql
  fdbroker exec stock=mysql -- mysql
  fdbroker exec sessions=redis -- redis-cli -s {}
  fdbroker exec partner=socks5 -- curl https://partner.example.org/

The program finds the descriptors from 3 on, their number in LISTEN_FDS, their names in
LISTEN_FDNAMES and its own process id in LISTEN_PID. Payloads are not passed on.

The program has to use the number. Opening a path, /dev/fd/3 too, opens the file again, and
needs the permission for that.

If a wrapper forks, as in sh -c 'server; true', LISTEN_PID is not the server's process id, and
the server ignores the descriptors. Write exec before the server. Descriptors 3, 4, ... of the
caller are not passed on.

With SLOT=PROTOCOL, for postgres, mysql, redis, socks5 or http-proxy, the command stays the parent
of the program. It listens on a socket in a directory of its own; for http-proxy, on a port. Each
connection to it gets a session from the broker. The program finds it by PGHOST, PGPORT, PGUSER,
PGDATABASE and PGSSLMODE; by MYSQL_UNIX_PORT and MYSQL_HOME; by REDIS_URL and REDIS_SOCKET; by
ALL_PROXY; or by https_proxy and HTTPS_PROXY. With :PREFIX behind, the names of the variables
begin with PREFIX. In the arguments of the program, {} is the path of the socket of mysql, redis
or socks5; with a prefix, {PREFIX} is. Signals are passed on to the program. If a signal ends it,
the exit status is 128 and the signal's number.

docs/servers.md shows the line for nginx, haproxy, gunicorn and other servers.";

impl Exec {
    /// Runs it. Returns only with an exit status of the program, or if it cannot be run.
    pub(crate) fn run(self, args: &ConnectArgs) -> Result<ExitCode, Failure> {
        let Some((program, arguments)) = self.command.split_first() else {
            return Err(Failure::Usage("exec: no program to run".to_owned()));
        };
        let mut lazy = LazyBroker::new(args);
        let (mut passed, mut relays) = (Vec::new(), Vec::new());
        for wanted in &self.slots {
            let slot = lazy.slot(&wanted.slot)?;
            match &wanted.form {
                Form::Descriptor(name) => passed.push(Passed { slot, given: &wanted.slot, name }),
                Form::Relay { protocol, prefix } => {
                    relays.push(Relay::new(self.source(slot, args), *protocol, prefix));
                }
            }
        }
        match (passed.is_empty(), relays.is_empty()) {
            (true, _) => relay::run(&relays, program, arguments),
            (false, false) => Err(Failure::Usage(MIXED.to_owned())),
            (false, true) => {
                let broker = lazy.into_broker()?;
                Err(activation::run(broker, &passed, program, arguments))
            }
        }
    }

    fn source(&self, slot: Slot, args: &ConnectArgs) -> Source {
        Source { connector: args.connector(), slot, takes_deposits: self.trust_depositor }
    }
}

const MIXED: &str = "exec: descriptors and relays cannot be combined; run one exec within the other: \
    fdbroker exec SLOT=postgres -- fdbroker exec SLOT -- COMMAND";
