//! One step of a script, as the policy writes it: what is done, a colon, and a text.

use std::fmt;

use super::text::ScriptText;

/// What is done in one step.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ScriptStep {
    /// Passes over lines that begin so, before the line that is expected next.
    Skip(String),
    /// Takes a line, which must begin so.
    Expect(String),
    /// Sends a line; CR and LF are added.
    Send(ScriptText),
    /// Takes just these bytes, which are no whole line.
    Prompt(String),
    /// Sends just these bytes.
    Write(ScriptText),
}

/// What is wrong with a step: said of the step, as in "… that is unknown".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadScriptStep {
    /// It begins with nothing that a step does.
    Unknown,
    /// Its text is empty.
    Empty,
    /// A line has a line break in it.
    Broken,
    /// A brace does not belong to a name that is known.
    Brace,
}

impl ScriptStep {
    /// Reads a step.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(step: &str) -> Result<Self, BadScriptStep> {
        let (does, text) = step.split_once(':').ok_or(BadScriptStep::Unknown)?;
        if text.is_empty() {
            return Err(BadScriptStep::Empty);
        }
        let line =
            || if text.contains(['\r', '\n', '\0']) { Err(BadScriptStep::Broken) } else { Ok(()) };
        let filled = || ScriptText::parse(text).ok_or(BadScriptStep::Brace);
        Ok(match does {
            "skip" => line().map(|()| Self::Skip(text.to_owned()))?,
            "expect" => line().map(|()| Self::Expect(text.to_owned()))?,
            "send" => line().and_then(|()| filled()).map(Self::Send)?,
            "prompt" => Self::Prompt(text.to_owned()),
            "write" => filled().map(Self::Write)?,
            _ => return Err(BadScriptStep::Unknown),
        })
    }

    /// Returns what is sent in it.
    #[must_use]
    pub const fn sent(&self) -> Option<&ScriptText> {
        match self {
            Self::Send(text) | Self::Write(text) => Some(text),
            Self::Skip(_) | Self::Expect(_) | Self::Prompt(_) => None,
        }
    }
}

/// As [`ScriptStep::parse`] reads it.
impl fmt::Display for ScriptStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Skip(text) => write!(f, "skip:{text}"),
            Self::Expect(text) => write!(f, "expect:{text}"),
            Self::Send(text) => write!(f, "send:{text}"),
            Self::Prompt(text) => write!(f, "prompt:{text}"),
            Self::Write(text) => write!(f, "write:{text}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_written_as_it_is_read() {
        for step in [
            "skip:250-",
            "expect:+OK",
            "send:PASS {password}",
            "prompt:login: ",
            "write:\0{plain}\r",
        ] {
            assert_eq!(ScriptStep::parse(step).unwrap().to_string(), step);
        }
    }

    #[test]
    fn what_is_no_step_is_refused() {
        for (step, problem) in [
            ("expect", BadScriptStep::Unknown),
            ("wait:1", BadScriptStep::Unknown),
            ("send:", BadScriptStep::Empty),
            ("send:a\r\nb", BadScriptStep::Broken),
            ("expect:a\n", BadScriptStep::Broken),
            ("send:{pass}", BadScriptStep::Brace),
        ] {
            assert_eq!(ScriptStep::parse(step), Err(problem), "{step}");
        }
    }
}
