//! The log-in, by its kind: what the server reports goes into the payload.

use fdbroker_policy::{Auth, TlsStart};
use fdbroker_wire::ConnectionWriter;
use fdbroker_wire::connection::{EARLY, TooLarge, USER};

use super::another_protocol::instead;
use super::answer::{Failure, Step};
use super::secret::Secret;
use super::stream::Stream;
use super::{http_proxy, imap, mysql, postgres, redis, script, smtp, socks5};

/// Logs in, and writes what the session is.
///
/// # Errors
/// Why there is no session.
pub(crate) fn log_in(
    auth: &Auth,
    secret: Option<&Secret>,
    stream: &mut Stream<'_>,
    payload: &mut ConnectionWriter,
) -> Result<(), Failure> {
    let logged_in = by_kind(auth, secret, stream, payload);
    logged_in.map_err(|failure| instead(failure, auth.name(), stream))
}

fn by_kind(
    auth: &Auth,
    secret: Option<&Secret>,
    stream: &mut Stream<'_>,
    payload: &mut ConnectionWriter,
) -> Result<(), Failure> {
    let written = match auth {
        Auth::Postgres(auth) => postgres::log_in(stream, auth, secret)?.write(auth, payload),
        Auth::Socks5(auth) => socks5::log_in(stream, auth, secret)?.write(auth, payload),
        Auth::HttpProxy(auth) => http_proxy::log_in(stream, auth, secret)?.write(auth, payload),
        Auth::Mysql(auth) => mysql::log_in(stream, auth, secret)?.write(auth, payload),
        Auth::Redis(auth) => redis::log_in(stream, auth, secret)?.write(auth, payload),
        Auth::Smtp(auth) => smtp::log_in(stream, auth, secret)?.write(auth, payload),
        Auth::Imap(auth) => imap::log_in(stream, auth, secret)?.write(auth, payload),
        Auth::Script(auth) => script::log_in(stream, auth, secret)?.write(auth, payload),
        // The program logs in once this process has answered.
        Auth::Program(auth) => auth.user.iter().try_for_each(|user| payload.add(USER, user)),
    };
    written.map_err(too_large)
}

/// Writes what the server sent after the log-in.
///
/// # Errors
/// If it does not fit.
pub(crate) fn add_early(early: &[u8], payload: &mut ConnectionWriter) -> Result<(), Failure> {
    match early {
        [] => Ok(()),
        early => payload.add(EARLY, early).map_err(too_large),
    }
}

/// Asks the server for TLS, if its protocol has a question for that, and the policy says so where there is a choice;
/// else TLS begins at once.
///
/// # Errors
/// If the server does not offer it.
pub(crate) fn ask_for_tls(
    auth: Option<&Auth>,
    start: TlsStart,
    stream: &mut Stream<'_>,
) -> Result<(), Failure> {
    let asked = match (auth, start) {
        (Some(Auth::Postgres(_)), _) => postgres::ask_for_tls(stream),
        (Some(Auth::Mysql(auth)), _) => mysql::ask_for_tls(stream, auth),
        (Some(Auth::Smtp(auth)), TlsStart::StartTls) => smtp::start_tls(stream, auth),
        (Some(Auth::Imap(_)), TlsStart::StartTls) => imap::start_tls(stream),
        _ => Ok(()),
    };
    asked.map_err(|failure| instead(failure, auth.map_or("", Auth::name), stream))
}

/// What the server reports does not fit.
pub(crate) fn too_large(TooLarge: TooLarge) -> Failure {
    let text = "what the server reports takes more than a payload of 32768 bytes";
    Failure::new(Step::LogIn, text)
}
