//! What the fuzz targets reach of a helper; there only when it is built for them.

use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use fdbroker_policy::{
    Auth, ImapAuth, MysqlAuth, MysqlMethod, PostgresAuth, PostgresMethod, ProxyAuth, ProxyTarget,
    RedisAuth, ScriptAuth, ScriptStep, SmtpAuth, TlsStart,
};

use super::log_in::ask_for_tls;
use super::test_server::{log_in_over, over};

/// Returns the payload that comes of a log-in to a server that sends these bytes, as far as a socket's buffer has
/// room for them, and reads nothing; `None` if it fails. The first byte is not sent: it says of which kind it is, as a
/// capital if the server is only asked for TLS.
#[must_use]
pub fn log_in(data: &[u8]) -> Option<Vec<u8>> {
    let (kind, sent) = data.split_first()?;
    let auth = auth(kind.to_ascii_lowercase())?;
    let (socket, mut server) = UnixStream::pair().ok()?;
    server.set_nonblocking(true).ok()?;
    // What does not fit is as good as not sent.
    let _ = server.write(sent);
    server.shutdown(Shutdown::Write).ok()?;
    if kind.is_ascii_uppercase() {
        // The beginning of a connection with STARTTLS, which has no payload.
        let _ = over(socket, |stream| ask_for_tls(Some(&auth), TlsStart::StartTls, stream));
        return None;
    }
    log_in_over(socket, &auth, Some(b"secret")).ok()
}

/// The kind of log-in that a letter stands for.
fn auth(kind: u8) -> Option<Auth> {
    Some(match kind {
        b'p' => Auth::Postgres(PostgresAuth {
            user: "user".to_owned(),
            database: "database".to_owned(),
            password: None,
            methods: PostgresMethod::ALL.to_vec(),
        }),
        b'e' => Auth::Smtp(SmtpAuth {
            user: "user".to_owned(),
            password: None,
            client_name: "name".to_owned(),
        }),
        b'i' => Auth::Imap(ImapAuth { user: "user".to_owned(), password: None }),
        b'm' => Auth::Mysql(mysql()),
        b'r' => Auth::Redis(redis()),
        b'h' => Auth::HttpProxy(proxy()),
        b's' => Auth::Socks5(proxy()),
        b't' => Auth::Script(script()?),
        _ => return None,
    })
}

fn mysql() -> MysqlAuth {
    MysqlAuth {
        user: "user".to_owned(),
        database: Some("database".to_owned()),
        password: None,
        methods: MysqlMethod::ALL.to_vec(),
    }
}

fn redis() -> RedisAuth {
    RedisAuth { user: None, password: None, database: 1, client_name: Some("name".to_owned()) }
}

fn script() -> Option<ScriptAuth> {
    let steps = ["skip:*", "expect:+", "send:{plain}", "prompt:> ", "write:{password}"];
    let steps: Result<_, _> = steps.into_iter().map(ScriptStep::parse).collect();
    let user = Some("user".to_owned());
    Some(ScriptAuth { protocol: "lines".to_owned(), user, password: None, steps: steps.ok()? })
}

fn proxy() -> ProxyAuth {
    ProxyAuth {
        target: ProxyTarget { host: "host".to_owned(), port: 80 },
        user: Some("user".to_owned()),
        password: None,
    }
}
