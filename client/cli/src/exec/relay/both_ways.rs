//! What goes on once a session is open: bytes are copied both ways, until both have ended.

use std::io;

use tokio::io::copy_bidirectional;
use tokio::net::UnixStream;

/// Copies until both sides have ended, or one has failed. The end of one direction is passed on.
pub(super) async fn copy(mut client: UnixStream, mut server: UnixStream) -> io::Result<()> {
    copy_bidirectional(&mut client, &mut server).await.map(drop)
}
