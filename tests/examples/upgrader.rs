//! A process that does with an `Upgrader` what it is told: one command a line on standard input, one
//! line in return on standard output. It ends with its input.
//!
//! What goes wrong is answered with `error`, the name of the error, and its sentence.

use std::io::{self, BufRead, Write};
use std::net::TcpListener;
use std::time::Duration;

use fdbroker::upgrader::Happening;
use fdbroker::{Mode, Tag, UpgradeError, Upgrader};

fn main() -> io::Result<()> {
    let mut process = Process::default();
    for line in io::stdin().lock().lines() {
        let answer = process.obey(&line?).unwrap_or_else(|error| {
            let name = format!("{error:?}");
            let name = name.split(|it: char| !it.is_alphanumeric()).next().unwrap_or_default();
            format!("error {name}: {error}")
        });
        println!("{answer}");
        io::stdout().flush()?;
    }
    Ok(())
}

#[derive(Default)]
struct Process {
    upgrader: Option<Upgrader>,
    /// What it serves with, which stays open as long as it lives.
    listeners: Vec<TcpListener>,
}

impl Process {
    fn obey(&mut self, line: &str) -> Result<String, UpgradeError> {
        let words: Vec<&str> = line.split(' ').collect();
        if let ["start", tag, mode, timeout, patience] = *words {
            let upgrader = Upgrader::builder(tag.parse::<Tag>().expect("a tag"))
                .mode(if mode == "live" { Mode::Live } else { Mode::Quiesced })
                .timeout(milliseconds(timeout))
                .patience(milliseconds(patience))
                .start()?;
            let upgrader = self.upgrader.insert(upgrader);
            return Ok(format!("started with {}", upgrader.inherited()));
        }
        let upgrader = self.upgrader.as_ref().expect("it is started first");
        Ok(match *words {
            ["listen", name] => {
                let listener: TcpListener = upgrader.listen(name, "127.0.0.1:0")?;
                let address = listener.local_addr().expect("it is bound");
                self.listeners.push(listener);
                address.to_string()
            }
            ["store", name, text] => {
                upgrader.store(name, None, text.as_bytes())?;
                "done".to_owned()
            }
            ["stored", name] => match upgrader.stored(name)? {
                Some(stored) => format!("it is {}", String::from_utf8_lossy(&stored.bytes)),
                None => "nothing".to_owned(),
            },
            ["remove", name] => format!("removed: {}", upgrader.remove(name)?),
            ["ready"] => upgrader.ready().map(|()| "done".to_owned())?,
            ["release"] => upgrader.release().map(|()| "done".to_owned())?,
            ["next"] => happened(upgrader.next()?),
            ["complete"] => upgrader.upgrade_complete().map(|()| "done".to_owned())?,
            _ => panic!("no such command: {line:?}"),
        })
    }
}

fn happened(happening: Happening) -> String {
    match happening {
        Happening::Claimed(claimant) => format!("claimed {:?} by {}", claimant.mode, claimant.pid),
        Happening::Withdrawn => "withdrawn".to_owned(),
        Happening::Completed => "completed".to_owned(),
        other => format!("{other:?}"),
    }
}

fn milliseconds(text: &str) -> Duration {
    Duration::from_millis(text.parse().expect("a number of milliseconds"))
}
