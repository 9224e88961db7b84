//! Somebody between the broker and its server, with a certificate that the broker accepts: speaks TLS with both, and
//! passes on what they say.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use fdbroker_tests::authority::VALID;
use fdbroker_tests::{Authority, Postgres, Signed};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, Stream,
};

use crate::resource::{SLOT, auth, failure, server, tcp};
use crate::tls::{HERE, encrypted, tls};

const SSL_REQUEST: [u8; 8] = *b"\0\0\0\x08\x04\xd2\x16\x2f";

/// What the broker meets in the place of its server.
struct Between {
    /// Who signed its certificate, and that of the server.
    authority: CertificateDer<'static>,
    config: Arc<ServerConfig>,
    port: u16,
}

impl Between {
    fn new(authority: &Path, signed: &Signed, port: u16) -> Self {
        let chain = vec![CertificateDer::from_pem_file(&signed.certificate).unwrap()];
        let key = PrivateKeyDer::from_pem_file(&signed.key).unwrap();
        let config = ServerConfig::builder().with_no_client_auth();
        let config = Arc::new(config.with_single_cert(chain, key).unwrap());
        Self { authority: CertificateDer::from_pem_file(authority).unwrap(), config, port }
    }

    /// Passes on message by message, as a log-in goes: each is answered with one.
    fn pass_on(&self, mut broker: TcpStream) {
        broker.read_exact(&mut [0; SSL_REQUEST.len()]).unwrap();
        broker.write_all(b"S").unwrap();
        let mut server = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        server.write_all(&SSL_REQUEST).unwrap();
        server.read_exact(&mut [0]).unwrap();
        let mut to_broker = ServerConnection::new(Arc::clone(&self.config)).unwrap();
        let mut to_server = self.client();
        let mut broker = Stream::new(&mut to_broker, &mut broker);
        let mut server = Stream::new(&mut to_server, &mut server);
        let mut room = [0; 4096];
        while let Ok(length @ 1..) = broker.read(&mut room) {
            server.write_all(&room[..length]).unwrap();
            let Ok(length @ 1..) = server.read(&mut room) else { return };
            broker.write_all(&room[..length]).unwrap();
        }
    }

    fn client(&self) -> ClientConnection {
        let mut authorities = RootCertStore::empty();
        authorities.add(self.authority.clone()).unwrap();
        let config = ClientConfig::builder().with_root_certificates(authorities);
        let config = Arc::new(config.with_no_client_auth());
        ClientConnection::new(config, "127.0.0.1".try_into().unwrap()).unwrap()
    }
}

/// The broker's log after it has tried to log in by way of somebody with this certificate.
#[track_caller]
fn said_of(authority: &Authority, postgres: &Postgres, signed: &Signed) -> String {
    let between = Between::new(&authority.certificate(), signed, postgres.port());
    let port = server(move |stream| between.pass_on(stream));
    let builder = fdbroker_tests::Daemon::open();
    let password = builder.directory().private_file("password", "hunter2-geheim");
    let lines = format!("{}\n{}", auth(&password, ""), tls(&authority.certificate(), ""));
    let daemon = builder.policy(&crate::resource::connecting(&tcp(port), &lines)).start();
    assert_eq!(daemon.connect().get(SLOT).errno(), libc::EIO);
    failure(&daemon)
}

#[test]
fn a_log_in_that_somebody_between_passes_on_is_refused_by_the_server() {
    let what = "a log-in that somebody between passes on";
    let Some((authority, postgres)) = encrypted(what) else { return };
    let said = said_of(&authority, &postgres, &authority.sign("between", HERE, VALID));
    assert!(said.contains("the server says FATAL "), "{said}");
    assert!(said.contains("channel binding check failed"), "{said}");
}
