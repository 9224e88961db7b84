//! An HTTP server that is upgraded under load, and no request fails.
//!
//! Start it, and start it again: the new process takes the listening socket over. The old one
//! accepts nobody any more, but keeps the connections that it has. Were it to close them, a
//! request might just be on its way. So it answers each one's next request with `Connection:
//! close`, and ends when the last one has gone.
//!
//! `cargo run --example http -- 127.0.0.1:7002`

use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fdbroker::{Tag, tokio::Upgrader};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

const TAG: Tag = Tag::new(2).unwrap();
/// How long a connection without a request keeps the old process.
const LEAVE: Duration = Duration::from_secs(60);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let address: SocketAddr = std::env::args().nth(1).ok_or("usage: http ADDRESS")?.parse()?;
    let upgrader = Upgrader::start(fdbroker::Upgrader::builder(TAG)).await?;
    let listener: TcpListener = upgrader.listen("http", address).await?;
    upgrader.ready().await?;
    tell_service_manager()?;
    println!("listening on {}", listener.local_addr()?);

    let leaving = Arc::new(AtomicBool::new(false));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(connections.spawn(serve(stream, leaving.clone()))),
                Err(error) => {
                    eprintln!("accept: {error}");
                    // No descriptor may be free: the next try would fail as well.
                    sleep(Duration::from_millis(10)).await;
                }
            },
            Some(_) = connections.join_next() => {}
            completed = upgrader.upgrade_complete() => break completed?,
        }
    }
    drop(listener);
    leaving.store(true, Ordering::Relaxed);
    let all_gone = async { while connections.join_next().await.is_some() {} };
    if timeout(LEAVE, all_gone).await.is_err() {
        eprintln!("some clients kept silent until the end");
    }
    Ok(())
}

/// Says which process serves, if a service manager wants to know: sd_notify(3).
fn tell_service_manager() -> std::io::Result<()> {
    if let Some(path) = std::env::var_os("NOTIFY_SOCKET") {
        let message = format!("READY=1\nMAINPID={}", std::process::id());
        UnixDatagram::unbound()?.send_to(message.as_bytes(), path)?;
    }
    Ok(())
}

async fn serve(stream: TcpStream, leaving: Arc<AtomicBool>) {
    let service = service_fn(async |request| {
        let mut response = answer(request).await;
        if leaving.load(Ordering::Relaxed) {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Ok::<_, Infallible>(response)
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        eprintln!("a connection: {error}");
    }
}

/// What this server is for: it tells who answers.
async fn answer(_request: Request<Incoming>) -> Response<String> {
    Response::new(format!("{}\n", std::process::id()))
}
