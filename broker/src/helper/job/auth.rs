//! How a job tells the log-in: its kind, and then values by the keys of the policy. Each kind has a file.

use fdbroker_policy::Auth;

use super::postgres;

/// What a kind is told, in the order in which it is told: keys of the policy, and their values.
#[derive(Default)]
pub(super) struct Values(Vec<(String, String)>);

impl Values {
    pub(super) fn add(&mut self, key: &str, value: impl Into<String>) {
        self.0.push((key.to_owned(), value.into()));
    }

    /// Takes the one value of this key.
    pub(super) fn take(&mut self, key: &str) -> Option<String> {
        let place = self.0.iter().position(|(found, _)| found == key)?;
        Some(self.0.remove(place).1)
    }

    /// Takes every value of this key.
    pub(super) fn take_all(&mut self, key: &str) -> Vec<String> {
        std::iter::from_fn(|| self.take(key)).collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &(String, String)> {
        self.0.iter()
    }
}

/// What a job says of a log-in. Where the credential is kept is left out.
pub(super) fn values(auth: &Auth) -> Values {
    match auth {
        Auth::Postgres(auth) => postgres::values(auth),
    }
}

/// Returns the log-in of this kind that these values tell, if nothing of them is left over.
pub(super) fn read(kind: &str, mut values: Values) -> Option<Auth> {
    let auth = match kind {
        "postgres" => Auth::Postgres(postgres::read(&mut values)?),
        _ => return None,
    };
    (auth.name() == kind && values.0.is_empty()).then_some(auth)
}
