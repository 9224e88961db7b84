//! A process with an upgrader, which does what it reads from its standard input, a line at a time,
//! and answers each with a line: `ok …`, or `error KIND …`; see the library's `upgraded_process`.

use std::collections::HashMap;
use std::error::Error;
use std::io::{self, BufRead, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixListener;
use std::process::{Command, exit};
use std::time::Duration;

use fdbroker::upgrader::{Builder, ConnectionState, Happening};
use fdbroker::{Connector, Mode, UpgradeError, Upgrader};

fn main() {
    let mut state = State::default();
    for line in io::stdin().lock().lines() {
        let line = line.expect("the test writes text");
        let mut words = line.split(' ');
        let verb = words.next().unwrap_or_default();
        let words: Vec<&str> = words.collect();
        let answer = match state.perform(verb, &words) {
            Ok(done) => format!("ok {done}"),
            Err(error) => format!("error {} {error}", kind(error.as_ref())),
        };
        println!("{answer}");
        io::stdout().flush().expect("the test listens");
    }
}

#[derive(Default)]
struct State {
    upgrader: Option<Upgrader>,
    listeners: HashMap<String, TcpListener>,
    unix: Vec<UnixListener>,
    connections: HashMap<String, (TcpStream, ConnectionState)>,
    datagrams: HashMap<String, UdpSocket>,
}

type Done = Result<String, Box<dyn Error>>;

impl State {
    fn perform(&mut self, verb: &str, words: &[&str]) -> Done {
        match (verb, words) {
            ("start", [socket, options @ ..]) => {
                let upgrader = builder(socket, options)?.start()?;
                let inherited = upgrader.inherited();
                self.upgrader = Some(upgrader);
                Ok(inherited.to_string())
            }
            ("drop", []) => {
                self.upgrader = None;
                Ok(String::new())
            }
            ("drop-in-child", []) => {
                Ok(fdbroker_tests::sys::in_a_child(Duration::ZERO, || self.upgrader = None)?
                    .to_string())
            }
            ("abort", []) => std::process::abort(),
            ("exit", []) => exit(0),
            ("threads", []) => count("/proc/self/task"),
            ("descriptors", []) => count("/proc/self/fd"),
            ("children-see", []) => {
                let listed = Command::new("ls").arg("/proc/self/fd").output()?;
                Ok(String::from_utf8(listed.stdout)?.lines().count().to_string())
            }
            ("accept", [listener, name]) => {
                let (stream, _) = self.listeners[*listener].accept()?;
                let state = ConnectionState::of(&stream)?;
                self.connections.insert((*name).to_owned(), (stream, state));
                Ok(String::new())
            }
            ("close", [listener]) => Ok(self.listeners.remove(*listener).is_some().to_string()),
            ("say", [name, text]) => {
                (&self.connections[*name].0).write_all(text.as_bytes())?;
                Ok(String::new())
            }
            ("hear", [name, length]) => {
                let mut bytes = vec![0; length.parse()?];
                (&self.connections[*name].0).read_exact(&mut bytes)?;
                Ok(String::from_utf8(bytes)?)
            }
            _ => self.ask(verb, words),
        }
    }

    fn ask(&mut self, verb: &str, words: &[&str]) -> Done {
        let upgrader = self.upgrader.as_ref().ok_or("start it first")?;
        let done = String::new();
        match (verb, words) {
            ("listen", [name, address]) => {
                let listener: TcpListener = upgrader.listen(name, *address)?;
                let address = listener.local_addr()?.to_string();
                self.listeners.insert((*name).to_owned(), listener);
                Ok(address)
            }
            ("listen-unix", [name, path]) => {
                self.unix.push(upgrader.listen(name, *path)?);
                Ok(done)
            }
            ("listen-udp", [name, address]) => {
                let socket: UdpSocket = upgrader.listen(name, *address)?;
                let address = socket.local_addr()?.to_string();
                self.datagrams.insert((*name).to_owned(), socket);
                Ok(address)
            }
            ("keep", [name]) => {
                let (stream, state) = &self.connections[*name];
                upgrader.store_connection(name, stream, state.clone())?;
                Ok(done)
            }
            ("connection", [name]) => {
                let found = upgrader.connection(name)?.ok_or("there is none")?;
                self.connections.insert((*name).to_owned(), found);
                Ok(done)
            }
            ("store", [name, text]) => {
                upgrader.store(name, None, text.as_bytes()).map(|()| done).map_err(Into::into)
            }
            ("stored", [name]) => {
                let stored = upgrader.stored(name)?.ok_or("there is nothing")?;
                Ok(String::from_utf8(stored.bytes)?)
            }
            ("remove", [name]) => Ok(upgrader.remove(name)?.to_string()),
            ("names", []) => Ok(upgrader.names().join(" ")),
            ("ready", []) => upgrader.ready().map(|()| done).map_err(Into::into),
            ("complete", []) => upgrader.upgrade_complete().map(|()| done).map_err(Into::into),
            ("release", []) => upgrader.release().map(|()| done).map_err(Into::into),
            ("next", []) => Ok(told(upgrader.next()?)),
            ("stop", []) => {
                upgrader.stop();
                Ok(done)
            }
            _ => Err(format!("what is {verb} of {words:?}?").into()),
        }
    }
}

/// `live`, `quiesced` or `again`; `timeout=MS`, `patience=MS`, `retry=MS`.
fn builder(socket: &str, options: &[&str]) -> Result<Builder, Box<dyn Error>> {
    let mut connector = Connector::new().socket(socket);
    let mut builder = Upgrader::builder("10".parse()?).patience(fdbroker_tests::PATIENCE);
    for option in options {
        builder = match option.split_once('=') {
            None => builder.mode(match *option {
                "live" => Mode::Live,
                "quiesced" => Mode::Quiesced,
                _ => Mode::Again,
            }),
            Some((name, value)) => {
                let value = Duration::from_millis(value.parse()?);
                match name {
                    "timeout" => builder.timeout(value),
                    "patience" => builder.patience(value),
                    _ => {
                        connector = connector.retry_for(value);
                        builder
                    }
                }
            }
        };
    }
    Ok(builder.connector(connector))
}

fn count(directory: &str) -> Done {
    Ok(std::fs::read_dir(directory)?.count().to_string())
}

fn told(happening: Happening) -> String {
    match happening {
        Happening::Claimed(claimant) => format!("claimed {}", claimant.pid),
        other => format!("{other:?}").to_lowercase(),
    }
}

/// The name of an error's variant.
fn kind(error: &(dyn Error + 'static)) -> String {
    let Some(error) = error.downcast_ref::<UpgradeError>() else { return "Other".to_owned() };
    let text = format!("{error:?}");
    let end = text.find(|character: char| !character.is_alphanumeric());
    text[..end.unwrap_or(text.len())].to_owned()
}
