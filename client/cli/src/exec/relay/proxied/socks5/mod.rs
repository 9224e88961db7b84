//! SOCKS5: a client asks by two short messages.

mod message;

use std::io;

use tokio::net::UnixStream;

use super::{Asked, Proxy, Refusal};
use crate::exec::relay::directory::Directory;
use crate::exec::relay::program::Environment;
use crate::exec::relay::url;
use crate::terminal;
use message::Reply;

/// The name of the protocol.
pub(in super::super) const NAME: &str = "socks5";
/// The name of the socket.
pub(in super::super) const SOCKET: &str = "socks5.sock";
/// What curl takes before the path of a proxy's socket.
const URL: &str = "socks5h://localhost";
/// Variables that count before ALL_PROXY, or except servers from it.
const REMOVED: [&str; 7] =
    ["all_proxy", "http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY"];

/// Sets what leads curl to the socket.
pub(in super::super) fn set(directory: &Directory, prefix: &str, environment: &mut Environment) {
    let url = url::with_path(URL, &directory.join(SOCKET));
    environment.set(format!("{prefix}ALL_PROXY"), url);
    for removed in REMOVED {
        environment.remove(format!("{prefix}{removed}"));
    }
}

/// A proxy that is asked by SOCKS5.
pub(in super::super) struct Socks5;

impl Proxy for Socks5 {
    async fn read(client: &mut UnixStream) -> io::Result<Result<Asked, Vec<u8>>> {
        let asked = message::read(client).await?;
        let asked = asked.map(|target| Asked { target, rest: Vec::new() });
        Ok(asked.map_err(|reply| reply.message().into()))
    }

    fn connected() -> Vec<u8> {
        Reply::Connected.message().into()
    }

    fn refusal(why: &Refusal) -> Vec<u8> {
        let reply = match why {
            Refusal::OtherServer => Reply::NotAllowed,
            Refusal::NoSession(error) => {
                // SOCKS5 has no words for it.
                terminal::complain(format_args!("fdbroker: {error}"));
                Reply::Failed
            }
        };
        reply.message().into()
    }
}
