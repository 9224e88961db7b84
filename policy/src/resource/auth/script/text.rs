//! A text that a script sends, with names in braces that something is put in for.

use std::fmt;

/// A text in parts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ScriptText(Vec<ScriptPart>);

/// A part of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ScriptPart {
    /// As it stands there.
    Text(String),
    /// What is put in.
    Fill(ScriptFill),
}

/// What can be put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScriptFill {
    /// The user.
    User,
    /// The password.
    Password,
    /// The user in base64, as SMTP's LOGIN has it.
    UserInBase64,
    /// The password in base64.
    PasswordInBase64,
    /// A NUL, the user, a NUL and the password, in base64: SASL's PLAIN, RFC 4616.
    Plain,
}

impl ScriptFill {
    /// All there are.
    pub const ALL: [Self; 5] =
        [Self::User, Self::Password, Self::UserInBase64, Self::PasswordInBase64, Self::Plain];

    /// What stands between the braces.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Password => "password",
            Self::UserInBase64 => "user:base64",
            Self::PasswordInBase64 => "password:base64",
            Self::Plain => "plain",
        }
    }

    /// Whether it has the user in it.
    #[must_use]
    pub const fn has_user(self) -> bool {
        matches!(self, Self::User | Self::UserInBase64 | Self::Plain)
    }

    /// Whether it has the password in it.
    #[must_use]
    pub const fn has_password(self) -> bool {
        matches!(self, Self::Password | Self::PasswordInBase64 | Self::Plain)
    }
}

impl ScriptText {
    /// Reads a text. A brace that stands for itself is written twice. Returns `None` if a brace does not
    /// belong to a name that is known.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, brace) = rest.split_at(at);
            plain.push_str(before);
            if let Some(after) = brace.strip_prefix("{{").or_else(|| brace.strip_prefix("}}")) {
                plain.push_str(brace.get(..1)?);
                rest = after;
                continue;
            }
            let (name, after) = brace.strip_prefix('{')?.split_once('}')?;
            let fill = ScriptFill::ALL.into_iter().find(|fill| fill.name() == name)?;
            if !plain.is_empty() {
                parts.push(ScriptPart::Text(std::mem::take(&mut plain)));
            }
            parts.push(ScriptPart::Fill(fill));
            rest = after;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(ScriptPart::Text(plain));
        }
        Some(Self(parts))
    }

    /// Returns its parts, in their order.
    pub fn parts(&self) -> impl Iterator<Item = &ScriptPart> {
        self.0.iter()
    }

    /// Returns what is put in, in its order.
    pub fn fills(&self) -> impl Iterator<Item = ScriptFill> {
        self.0.iter().filter_map(|part| match part {
            ScriptPart::Fill(fill) => Some(*fill),
            ScriptPart::Text(_) => None,
        })
    }
}

/// As [`ScriptText::parse`] reads it.
impl fmt::Display for ScriptText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            ScriptPart::Text(text) => f.write_str(&text.replace('{', "{{").replace('}', "}}")),
            ScriptPart::Fill(fill) => write!(f, "{{{}}}", fill.name()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_braces_are_parts_of_their_own() {
        let text = ScriptText::parse("A {{b}} {user}{plain} c").unwrap();
        let parts: Vec<_> = text.parts().cloned().collect();
        let [begin, end] = ["A {b} ", " c"].map(|text| ScriptPart::Text(text.to_owned()));
        assert_eq!(
            parts,
            [begin, ScriptPart::Fill(ScriptFill::User), ScriptPart::Fill(ScriptFill::Plain), end]
        );
        assert_eq!(text.to_string(), "A {{b}} {user}{plain} c");
    }

    #[test]
    fn a_brace_without_a_known_name_is_refused() {
        for text in ["{", "}", "{user", "{other}", "a}b", "{}", "{{user}"] {
            assert_eq!(ScriptText::parse(text), None, "{text}");
        }
    }
}
