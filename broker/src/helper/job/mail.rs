//! How a job tells the log-in to a mail server.

use fdbroker_policy::{ImapAuth, SmtpAuth};

use super::values::Values;

const USER: &str = "user";
const CLIENT_NAME: &str = "client_name";

pub(super) fn smtp_values(auth: &SmtpAuth) -> Values {
    let mut values = Values::default();
    values.add(USER, &auth.user);
    values.add(CLIENT_NAME, &auth.client_name);
    values
}

pub(super) fn read_smtp(values: &mut Values) -> Option<SmtpAuth> {
    Some(SmtpAuth {
        user: values.take(USER)?,
        password: None,
        client_name: values.take(CLIENT_NAME)?,
    })
}

pub(super) fn imap_values(auth: &ImapAuth) -> Values {
    let mut values = Values::default();
    values.add(USER, &auth.user);
    values
}

pub(super) fn read_imap(values: &mut Values) -> Option<ImapAuth> {
    Some(ImapAuth { user: values.take(USER)?, password: None })
}
