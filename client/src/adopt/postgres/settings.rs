//! What a client sets by its StartupMessage, such as application_name: the query that sets it now.

use fdbroker_wire::Connection;

use super::message::message;

/// The query that sets what the server does not report already; `None` if nothing is left.
pub(super) fn query(settings: &[(String, String)], connection: Connection<'_>) -> Option<Vec<u8>> {
    let differs =
        |(name, value): &&(String, String)| connection.parameter(name) != Some(value.as_str());
    let calls: Vec<String> = settings.iter().filter(differs).map(call).collect();
    let text = format!("SELECT {}\0", calls.join(", "));
    (!calls.is_empty()).then(|| message(b'Q', text.as_bytes()))
}

fn call((name, value): &(String, String)) -> String {
    format!("pg_catalog.set_config({}, {}, false)", literal(name), literal(value))
}

/// A string that means the same whatever `standard_conforming_strings` is.
fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fdbroker_wire::ConnectionWriter;

    #[test]
    fn only_what_differs_is_set_and_quoted() {
        let mut writer = ConnectionWriter::new("postgres").unwrap();
        writer.add("parameter.client_encoding", "UTF8").unwrap();
        let payload = writer.finish();
        let connection = Connection::parse(&payload).unwrap();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let same = pair("client_encoding", "UTF8");
        assert_eq!(query(std::slice::from_ref(&same), connection), None);
        let asked = query(&[same, pair("application_name", "it's \\ me")], connection).unwrap();
        let text = "SELECT pg_catalog.set_config(E'application_name', E'it''s \\\\ me', false)\0";
        assert_eq!(asked, message(b'Q', text.as_bytes()));
    }
}
