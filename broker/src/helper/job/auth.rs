//! How a job tells the log-in: its kind, and then what that kind is told. Each kind has a file.

use fdbroker_policy::Auth;

use super::values::Values;
use super::{mail, mysql, postgres, program, proxy, redis, script};

/// What a job says of a log-in. Where the credential is kept is left out.
pub(super) fn values(auth: &Auth) -> Values {
    match auth {
        Auth::Postgres(auth) => postgres::values(auth),
        Auth::Socks5(auth) | Auth::HttpProxy(auth) => proxy::values(auth),
        Auth::Mysql(auth) => mysql::values(auth),
        Auth::Redis(auth) => redis::values(auth),
        Auth::Smtp(auth) => mail::smtp_values(auth),
        Auth::Imap(auth) => mail::imap_values(auth),
        Auth::Script(auth) => script::values(auth),
        Auth::Program(auth) => program::values(auth),
    }
}

/// Returns the log-in of this kind that these values tell, if nothing of them is left over.
pub(super) fn read(kind: &str, mut values: Values) -> Option<Auth> {
    let auth = match kind {
        "postgres" => Auth::Postgres(postgres::read(&mut values)?),
        "socks5" => Auth::Socks5(proxy::read(&mut values)?),
        "http-proxy" => Auth::HttpProxy(proxy::read(&mut values)?),
        "mysql" => Auth::Mysql(mysql::read(&mut values)?),
        "redis" => Auth::Redis(redis::read(&mut values)?),
        "smtp" => Auth::Smtp(mail::read_smtp(&mut values)?),
        "imap" => Auth::Imap(mail::read_imap(&mut values)?),
        "script" => Auth::Script(script::read(&mut values)?),
        "program" => Auth::Program(program::read(&mut values)?),
        _ => return None,
    };
    (auth.name() == kind && values.is_empty()).then_some(auth)
}
