//! An HTTP proxy: a client asks by CONNECT.

mod request;

use std::io;
use std::net::SocketAddr;

use tokio::net::UnixStream;

use super::{Asked, Proxy, Refusal};
use crate::exec::relay::program::Environment;
use request::Answer;

/// The name of the protocol.
pub(in super::super) const NAME: &str = "http-proxy";
/// The variables that programs read for a server that is spoken to by TLS.
const VARIABLES: [&str; 2] = ["https_proxy", "HTTPS_PROXY"];
/// Those that except servers from it.
const REMOVED: [&str; 2] = ["no_proxy", "NO_PROXY"];

/// Sets what leads a program to the port.
pub(in super::super) fn set(port: Option<SocketAddr>, prefix: &str, environment: &mut Environment) {
    let url = port.map(|port| format!("http://{port}")).unwrap_or_default();
    for name in VARIABLES {
        environment.set(format!("{prefix}{name}"), &url);
    }
    for removed in REMOVED {
        environment.remove(format!("{prefix}{removed}"));
    }
}

/// A proxy that is asked by CONNECT.
pub(in super::super) struct HttpProxy;

impl Proxy for HttpProxy {
    async fn read(client: &mut UnixStream) -> io::Result<Result<Asked, Vec<u8>>> {
        request::read(client).await.map(|asked| asked.map_err(|answer| answer.message()))
    }

    fn connected() -> Vec<u8> {
        request::CONNECTED.into()
    }

    fn refusal(why: &Refusal) -> Vec<u8> {
        match why {
            Refusal::OtherServer => Answer::other_server(),
            Refusal::NoSession(error) => Answer::no_session(error),
        }
        .message()
    }
}
