//! What a helper is to do, as its supervisor tells it in one message.
//!
//! It names no secret: credentials and certificates come beside it, as descriptors of memory that nobody can change.

mod auth;
mod encryption;
mod mail;
mod mysql;
mod postgres;
mod program;
mod proxy;
mod redis;
mod script;
mod values;

use std::collections::BTreeMap;
use std::time::Duration;

use fdbroker_policy::{Auth, ConnectSource, ServerAddress};
use fdbroker_wire::Account;
use fdbroker_wire::named::{Fields, NotAField, push};

use super::handed::Handed;
pub(crate) use encryption::Encryption;
use values::Values;

/// One connection to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Job {
    /// Whom to become; `None` if the broker was not started by root.
    pub(crate) account: Option<Account>,
    /// How long all of it may take.
    pub(crate) within: Duration,
    /// Where to connect to and how to log in. Where credentials and certificates are kept is left out.
    pub(crate) connect: ConnectSource,
    /// How the connection is to be encrypted, if it is.
    pub(crate) tls: Option<Encryption>,
    /// What the descriptors that come beside it hold, in their order.
    pub(crate) handed: Vec<Handed>,
    /// Who owns the socket of a server that is sent a password.
    pub(crate) owners: SocketOwners,
}

/// The owner of the socket, by its path: nobody but this user and root may be the server there. `None` if there was no
/// socket. The others come beside the job, in this order.
pub(crate) type SocketOwners = BTreeMap<String, Option<u32>>;

/// The longest message: 16 addresses, and two names or the steps of a script.
pub(crate) const MAX_JOB: usize = 16 * 1024;

const ACCOUNT: &str = "account";
const WITHIN: &str = "within";
const TCP: &str = "tcp";
const UNIX: &str = "unix";
const SOURCE: &str = "source";
const CONNECT_TIMEOUT: &str = "connect_timeout";
const KEEP_ALIVE: &str = "keep_alive";
const USER_TIMEOUT: &str = "user_timeout";
const TLS: &str = "tls";
/// Once for each descriptor.
const HANDED: &str = "handed";
/// Once for each Unix socket with an owner to look for.
const OWNER: &str = "owner";
/// In the place of the owner of a socket that is not there.
const MISSING: &str = "none";
/// The kind of the log-in, as the policy calls it.
const AUTH: &str = "auth";
/// Before the key of what that kind is told.
const AUTH_VALUE: &str = "auth.";

impl Job {
    /// Returns whether the kernel is to encrypt after the log-in, where it can. The helper itself must log in: else
    /// the server may have something to say of the handshake yet.
    pub(crate) fn is_for_kernel(&self) -> bool {
        let logs_in = !matches!(self.connect.auth, None | Some(Auth::Program(_)));
        logs_in && self.tls.is_some_and(|encryption| encryption.kernel)
    }

    /// Returns the message.
    ///
    /// # Errors
    /// When a text of the policy is longer than the policy allows.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, NotAField> {
        let mut bytes = Vec::new();
        let Self { account, within, connect, tls, handed, owners } = self;
        if let Some(account) = account {
            push(&mut bytes, ACCOUNT, account.to_string().as_bytes())?;
        }
        for (name, time) in [
            (WITHIN, within),
            (CONNECT_TIMEOUT, &connect.connect_timeout),
            (KEEP_ALIVE, &connect.keep_alive),
            (USER_TIMEOUT, &connect.user_timeout),
        ] {
            push(&mut bytes, name, time.as_millis().to_string().as_bytes())?;
        }
        for address in &connect.addresses {
            match address {
                ServerAddress::Tcp { host, port } => {
                    push(&mut bytes, TCP, format!("{port} {host}").as_bytes())?;
                }
                ServerAddress::Unix(path) => push(&mut bytes, UNIX, path.as_bytes())?,
            }
        }
        if let Some(source) = connect.source {
            push(&mut bytes, SOURCE, source.to_string().as_bytes())?;
        }
        if let Some(encryption) = tls {
            push(&mut bytes, TLS, encryption.value().as_bytes())?;
        }
        for handed in handed {
            push(&mut bytes, HANDED, handed.name().as_bytes())?;
        }
        for (path, owner) in owners {
            let owner = owner.map_or(MISSING.to_owned(), |owner| owner.to_string());
            push(&mut bytes, OWNER, format!("{owner} {path}").as_bytes())?;
        }
        if let Some(auth) = &connect.auth {
            push(&mut bytes, AUTH, auth.name().as_bytes())?;
            for (key, value) in auth::values(auth).iter() {
                push(&mut bytes, &[AUTH_VALUE, key].concat(), value.as_bytes())?;
            }
        }
        Ok(bytes)
    }

    /// Returns the job that a message tells, or `None` if it tells none.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut read = Reader::default();
        for field in Fields::of(bytes) {
            let (name, value) = field?;
            read.take(name, str::from_utf8(value).ok()?)?;
        }
        read.finish()
    }
}

/// What has been read of a message.
#[derive(Default)]
struct Reader {
    account: Option<Account>,
    within: Option<Duration>,
    connect_timeout: Option<Duration>,
    keep_alive: Option<Duration>,
    user_timeout: Option<Duration>,
    addresses: Vec<ServerAddress>,
    source: Option<std::net::IpAddr>,
    tls: Option<Encryption>,
    handed: Vec<Handed>,
    owners: SocketOwners,
    auth: Option<String>,
    values: Values,
}

impl Reader {
    fn take(&mut self, name: &str, value: &str) -> Option<()> {
        match name {
            ACCOUNT => self.account = Some(Account::read(value)?),
            WITHIN => self.within = Some(milliseconds(value)?),
            CONNECT_TIMEOUT => self.connect_timeout = Some(milliseconds(value)?),
            KEEP_ALIVE => self.keep_alive = Some(milliseconds(value)?),
            USER_TIMEOUT => self.user_timeout = Some(milliseconds(value)?),
            TCP => self.addresses.push(tcp(value)?),
            UNIX => self.addresses.push(ServerAddress::Unix(value.to_owned())),
            SOURCE => self.source = Some(value.parse().ok()?),
            TLS => self.tls = Some(Encryption::read(value)?),
            HANDED => self.handed.push(Handed::of(value)?),
            OWNER => {
                let (owner, path) = value.split_once(' ')?;
                let owner = if owner == MISSING { None } else { Some(owner.parse().ok()?) };
                self.owners.insert(path.to_owned(), owner);
            }
            AUTH => self.auth = Some(value.to_owned()),
            _ => self.values.add(name.strip_prefix(AUTH_VALUE)?, value),
        }
        Some(())
    }

    fn finish(self) -> Option<Job> {
        let auth = match self.auth {
            None if self.values.is_empty() => None,
            None => return None,
            Some(kind) => Some(auth::read(&kind, self.values)?),
        };
        let connect = ConnectSource {
            addresses: self.addresses,
            source: self.source,
            connect_timeout: self.connect_timeout?,
            keep_alive: self.keep_alive?,
            user_timeout: self.user_timeout?,
            tls: None,
            auth,
        };
        let Self { account, tls, handed, owners, .. } = self;
        Some(Job { account, within: self.within?, connect, tls, handed, owners })
    }
}

fn milliseconds(value: &str) -> Option<Duration> {
    value.parse().ok().map(Duration::from_millis)
}

fn tcp(value: &str) -> Option<ServerAddress> {
    let (port, host) = value.split_once(' ')?;
    Some(ServerAddress::Tcp { host: host.to_owned(), port: port.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use fdbroker_policy::{
        ImapAuth, MysqlAuth, MysqlMethod, PostgresAuth, PostgresMethod, ProgramAuth, RedisAuth,
        ScriptAuth, ScriptStep, SmtpAuth, TlsMode, TlsStart,
    };

    use super::*;

    fn job() -> Job {
        Job {
            account: Some(Account { uid: 7, gid: 8 }),
            within: Duration::from_millis(9500),
            connect: ConnectSource {
                addresses: vec![
                    ServerAddress::Tcp { host: "::1".to_owned(), port: 5432 },
                    ServerAddress::Unix("/run/a b".to_owned()),
                ],
                source: Some("192.0.2.7".parse().unwrap()),
                connect_timeout: Duration::from_secs(1),
                keep_alive: Duration::from_secs(2),
                user_timeout: Duration::from_secs(3),
                tls: None,
                auth: Some(Auth::Postgres(PostgresAuth {
                    user: "orders".to_owned(),
                    database: "shop of ü".to_owned(),
                    password: None,
                    methods: vec![PostgresMethod::ScramSha256, PostgresMethod::Md5],
                })),
            },
            tls: Some(Encryption {
                mode: TlsMode::VerifyCa,
                start: TlsStart::StartTls,
                kernel: true,
            }),
            handed: vec![Handed::Password, Handed::Authorities, Handed::Certificate, Handed::Key],
            owners: SocketOwners::from([
                ("/run/a b".to_owned(), Some(101)),
                ("/run/c".to_owned(), None),
            ]),
        }
    }

    #[test]
    fn a_job_comes_back_as_it_was() {
        let whole = job();
        assert_eq!(Job::from_bytes(&whole.to_bytes().unwrap()), Some(whole));
        for name in [None, Some("shop".to_owned())] {
            let auth =
                RedisAuth { user: name.clone(), password: None, database: 15, client_name: name };
            let connect = ConnectSource { auth: Some(Auth::Redis(auth)), ..job().connect };
            let redis = Job { connect, ..job() };
            assert_eq!(Job::from_bytes(&redis.to_bytes().unwrap()), Some(redis));
        }
        for database in [None, Some("shop".to_owned())] {
            let (user, methods) = ("orders".to_owned(), vec![MysqlMethod::NativePassword]);
            let auth = Auth::Mysql(MysqlAuth { user, database, password: None, methods });
            let connect = ConnectSource { auth: Some(auth), ..job().connect };
            let mysql = Job { connect, ..job() };
            assert_eq!(Job::from_bytes(&mysql.to_bytes().unwrap()), Some(mysql));
        }
        let user = || "orders".to_owned();
        let imap = Auth::Imap(ImapAuth { user: user(), password: None });
        let client_name = "shop".to_owned();
        let smtp = Auth::Smtp(SmtpAuth { user: user(), password: None, client_name });
        for auth in [imap, smtp] {
            let connect = ConnectSource { auth: Some(auth), ..job().connect };
            let mail = Job { connect, ..job() };
            assert_eq!(Job::from_bytes(&mail.to_bytes().unwrap()), Some(mail));
        }
        let steps = ["skip:250-", "expect:250 ", "send:AUTH PLAIN {plain}"];
        let steps = steps.map(|step| ScriptStep::parse(step).unwrap()).to_vec();
        let (protocol, user) = ("smtp".to_owned(), Some("shop".to_owned()));
        let auth = Auth::Script(ScriptAuth { protocol, user, password: None, steps });
        let script = Job { connect: ConnectSource { auth: Some(auth), ..job().connect }, ..job() };
        assert_eq!(Job::from_bytes(&script.to_bytes().unwrap()), Some(script));
        let (protocol, user) = ("amqp".to_owned(), Some("shop".to_owned()));
        let auth = Auth::Program(ProgramAuth { command: vec![], protocol, user, password: None });
        let program = Job { connect: ConnectSource { auth: Some(auth), ..job().connect }, ..job() };
        assert_eq!(Job::from_bytes(&program.to_bytes().unwrap()), Some(program));
        let bare = ConnectSource { source: None, auth: None, ..job().connect };
        let bare = Job { account: None, connect: bare, tls: None, handed: vec![], ..job() };
        assert_eq!(Job::from_bytes(&bare.to_bytes().unwrap()), Some(bare));
    }

    #[test]
    fn the_largest_job_fits_into_a_message() {
        let mut job = job();
        let host = "h".repeat(253);
        job.connect.addresses = vec![ServerAddress::Tcp { host, port: 65535 }; 16];
        let name = "n".repeat(255);
        job.connect.auth = Some(Auth::Postgres(PostgresAuth {
            user: name.clone(),
            database: name,
            password: None,
            methods: PostgresMethod::ALL.to_vec(),
        }));
        assert!(job.to_bytes().unwrap().len() <= MAX_JOB);
        // As many and as long as the policy allows.
        let steps = vec![ScriptStep::parse(&format!("expect:{}", "x".repeat(57))).unwrap(); 64];
        let (protocol, user) = ("p".repeat(32), Some("u".repeat(255)));
        job.connect.auth = Some(Auth::Script(ScriptAuth { protocol, user, password: None, steps }));
        assert!(job.to_bytes().unwrap().len() <= MAX_JOB);
    }

    #[test]
    fn a_message_that_tells_no_job_is_refused() {
        let bytes = job().to_bytes().unwrap();
        assert_eq!(Job::from_bytes(b""), None);
        assert_eq!(Job::from_bytes(&bytes[..bytes.len() - 1]), None);
        for (name, value) in [
            ("other", ""),
            ("auth", "other"),
            ("auth.other", ""),
            ("tls", "verify-ca"),
            ("tls", "require implicit relay"),
            ("tls", "verify-ca later kernel"),
            ("tls", "verify-ca implicit"),
            ("handed", "other"),
            ("owner", "postgres /run/a"),
        ] {
            let mut other = bytes.clone();
            push(&mut other, name, value.as_bytes()).unwrap();
            assert_eq!(Job::from_bytes(&other), None, "{name}");
        }
    }
}
