//! The limits that a charge can exceed, in the words that the peer and the audit trail get.

use std::fmt;

use fdbroker_types::counted;

/// How many resources may be opened for one user at once: more wait only where something hangs.
pub(super) const MAX_OPENING: u32 = 8;

/// Who has fewer connections than this has few: the last of all are for those users.
pub(super) const FEW: u32 = 2;

/// The limit that a charge would pass, with its value where a key of the policy sets it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Exceeded {
    Connections(u32),
    ConnectionsOfUser(u32),
    /// The last of all are for other users.
    LastConnections(u32),
    Slots(u32),
    Bytes(u64),
    Descriptors,
    AllDescriptors,
    Brought,
    Table,
    Opening,
    Opened,
}

impl fmt::Display for Exceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has = |who: &str, most: u32, of: &str, key: &str| {
            format!(
                "{who} has reached its limit of {of}: {most} ({key}, or a share of the descriptor table)"
            )
        };
        f.write_str(&match self {
            Self::Connections(most) => has("the broker", *most, "connections", "max_connections"),
            Self::ConnectionsOfUser(most) => {
                has("this user", *most, "connections", "max_connections_per_uid")
            }
            Self::LastConnections(kept) => format!(
                "the broker keeps its last {kept} connections for users with fewer than {FEW} \
                 (an eighth of max_connections, or of a share of the descriptor table)"
            ),
            Self::Slots(most) => {
                format!("this user has reached its limit of deposits: {most} (max_slots_per_uid)")
            }
            Self::Bytes(most) => {
                let most = counted(*most, "byte");
                format!("this user's payloads would exceed {most} (max_payload_bytes_per_uid)")
            }
            Self::Brought => "too many descriptors of this user wait to be closed".to_owned(),
            Self::Table => "the broker's descriptor table is full".to_owned(),
            Self::Descriptors => {
                "this user's deposits fill half of the broker's descriptor table: delete some, or raise LimitNOFILE=".to_owned()
            }
            Self::AllDescriptors => {
                "the deposits of all users fill their share of the broker's descriptor table: raise LimitNOFILE=".to_owned()
            }
            Self::Opening => {
                format!("{MAX_OPENING} resources are already being opened for this user")
            }
            Self::Opened => {
                "resources opened for this user use up its share of the broker's descriptor \
                 table; read the answers, end leases, and try again"
                    .to_owned()
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Exceeded;

    #[test]
    fn who_is_at_a_limit_is_told_its_key_and_its_value() {
        assert_eq!(
            Exceeded::ConnectionsOfUser(2).to_string(),
            "this user has reached its limit of connections: 2 (max_connections_per_uid, or a \
             share of the descriptor table)"
        );
        assert_eq!(
            Exceeded::Slots(7).to_string(),
            "this user has reached its limit of deposits: 7 (max_slots_per_uid)"
        );
    }
}
