//! `fdbroker get`: shows what is in a slot.

use clap::Args;
use serde_json::{Map, Value, json};

use fdbroker::{Deposit, Slot};

use crate::connect_args::ConnectArgs;
use crate::failure::Failure;
use crate::lazy_broker::LazyBroker;
use crate::terminal;
use crate::{connection, descriptor, output};

/// Write the payload of a slot to standard output, or describe the deposit
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Get {
    /// The slot, such as 10/3, web/3 or tun
    slot: String,
    /// Write one JSON object instead: slot, ufd, payload or connection, descriptor
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  fdbroker get secrets/0 > key         the payload
  fdbroker get --json 10/3             what is there, with the descriptor's kind and target

If the deposit has a descriptor and no payload, standard output stays empty and one line on
standard error describes the descriptor. In JSON, a payload that is not UTF-8 is the member
payload_hex. Without a descriptor, ufd is -1 and descriptor is null. For a connection that the
broker has made, the member connection stands in place of the payload: protocol, peer, user and
the rest, but for the key that cancels requests.

To use a descriptor, see: fdbroker exec --help";

impl Get {
    /// Runs it.
    pub(crate) fn run(self, args: &ConnectArgs) -> Result<(), Failure> {
        let mut lazy = LazyBroker::new(args);
        let slot = lazy.slot(&self.slot)?;
        let deposit = lazy.broker()?.get(slot)?;
        if self.json {
            return output::json(&object(slot, &deposit));
        }
        if let (Some(descriptor), true) = (&deposit.descriptor, deposit.payload.is_empty()) {
            terminal::complain(format_args!(
                "fdbroker: get {slot}: no payload, but {}: --json tells more, exec hands it to a program",
                descriptor::summary(descriptor)
            ));
        }
        output::write(&deposit.payload)
    }
}

fn object(slot: Slot, deposit: &Deposit) -> Value {
    let mut object = Map::new();
    object.insert("slot".into(), json!(slot.to_string()));
    object.insert("ufd".into(), json!(deposit.ufd));
    match (deposit.connection(), str::from_utf8(&deposit.payload)) {
        (Some(connection), _) => object.insert("connection".into(), connection::object(connection)),
        (None, Ok(text)) => object.insert("payload".into(), json!(text)),
        (None, Err(_)) => object.insert("payload_hex".into(), json!(hex(&deposit.payload))),
    };
    let described = deposit.descriptor.as_ref().map(descriptor::describe);
    object.insert("descriptor".into(), json!(described));
    Value::Object(object)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
