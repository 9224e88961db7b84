//! How a job tells the log-in to a proxy.

use fdbroker_policy::{ProxyAuth, ProxyTarget};

use super::values::Values;

const HOST: &str = "host";
const PORT: &str = "port";
const USER: &str = "user";

pub(super) fn values(auth: &ProxyAuth) -> Values {
    let mut values = Values::default();
    values.add(HOST, &auth.target.host);
    values.add(PORT, auth.target.port.to_string());
    if let Some(user) = &auth.user {
        values.add(USER, user);
    }
    values
}

pub(super) fn read(values: &mut Values) -> Option<ProxyAuth> {
    Some(ProxyAuth {
        target: ProxyTarget { host: values.take(HOST)?, port: values.take(PORT)?.parse().ok()? },
        user: values.take(USER),
        password: None,
    })
}
