//! Reads the table `[broker]`.

use super::accounts::{Accounts, Sort};
use super::amount::{count, duration, rate, size};
use super::elsewhere::KEYS_OF_BROKER;
use super::reader::{Expected, Section};
use super::report::Report;
use crate::{Account, Audit, Settings, Uid};

const AUDIT: Expected = Expected { key: "audit", write: "\"required\" or \"best-effort\"" };

/// The settings. What is not given, or wrongly given, stays at its default.
pub(super) fn read(
    section: Section<'_, '_>,
    accounts: &mut Accounts<'_>,
    report: &mut Report<'_>,
) -> Settings {
    section.refuse_unknown_keys(&KEYS_OF_BROKER, report);
    let default = Settings::default();
    Settings {
        user: account(section, accounts, report).unwrap_or(default.user),
        max_connections: count(section, "max_connections", report)
            .unwrap_or(default.max_connections),
        max_connections_per_uid: count(section, "max_connections_per_uid", report)
            .unwrap_or(default.max_connections_per_uid),
        max_slots_per_uid: count(section, "max_slots_per_uid", report)
            .unwrap_or(default.max_slots_per_uid),
        max_payload_bytes_per_uid: size(section, "max_payload_bytes_per_uid", report)
            .unwrap_or(default.max_payload_bytes_per_uid),
        frame_timeout: duration(section, "frame_timeout", report).unwrap_or(default.frame_timeout),
        audit: section
            .word(AUDIT, &Audit::ALL.map(|audit| (audit.name(), audit)), report)
            .unwrap_or(default.audit),
        requests_per_second: rate(section, "requests_per_second", report)
            .or(default.requests_per_second),
        records_per_second: rate(section, "records_per_second", report)
            .unwrap_or(default.records_per_second),
    }
}

/// Whom the worker runs as. A name that is written must exist; the default is looked up only when it is needed.
fn account(
    section: Section<'_, '_>,
    accounts: &mut Accounts<'_>,
    report: &mut Report<'_>,
) -> Option<Account> {
    let value = section.get("user")?;
    let number = accounts.id(value, Sort::User, report)?;
    let name = value.get_ref().as_str().map(|name| Account::Name(name.to_owned()));
    Some(name.unwrap_or(Account::Number(Uid(number))))
}
