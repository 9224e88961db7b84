//! What a script sends, with the user and the password put in: as secret as the password.

use fdbroker_policy::{ScriptAuth, ScriptFill, ScriptPart, ScriptText};
use zeroize::Zeroizing;

use crate::helper::answer::{Failure, Step};
use crate::helper::secret::Secret;

/// Returns a text with everything put in.
///
/// # Errors
/// As [`line()`].
pub(super) fn text(
    auth: &ScriptAuth,
    text: &ScriptText,
    secret: Option<&Secret>,
) -> Result<Zeroizing<Vec<u8>>, Failure> {
    ending(auth, text, secret, b"")
}

/// The same with the end of a line.
///
/// # Errors
/// If the password would be more than one line.
pub(super) fn line(
    auth: &ScriptAuth,
    text: &ScriptText,
    secret: Option<&Secret>,
) -> Result<Zeroizing<Vec<u8>>, Failure> {
    ending(auth, text, secret, b"\r\n")
}

/// All at once: memory that grows would leave copies behind that are not wiped.
fn ending(
    auth: &ScriptAuth,
    text: &ScriptText,
    secret: Option<&Secret>,
    end: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let user = auth.user.as_deref().unwrap_or_default();
    let password = secret.map(Secret::bytes).unwrap_or_default();
    let part = |part: &ScriptPart| match part {
        ScriptPart::Text(text) => Ok(Secret::new(Zeroizing::new(text.as_bytes().to_vec()))),
        ScriptPart::Fill(fill) => filled(*fill, user, password),
    };
    let parts: Vec<Secret> = text.parts().map(part).collect::<Result<_, _>>()?;
    let all: Vec<&[u8]> = parts.iter().map(Secret::bytes).chain([end]).collect();
    Ok(Zeroizing::new(all.concat()))
}

fn filled(fill: ScriptFill, user: &str, password: &[u8]) -> Result<Secret, Failure> {
    Ok(match fill {
        ScriptFill::User => Secret::new(Zeroizing::new(user.as_bytes().to_vec())),
        ScriptFill::Password => Secret::new(Zeroizing::new(one_line(password)?.to_vec())),
        ScriptFill::UserInBase64 => Secret::base64(&[user.as_bytes()]),
        ScriptFill::PasswordInBase64 => Secret::base64(&[password]),
        ScriptFill::Plain => Secret::base64(&[b"\0", user.as_bytes(), b"\0", password]),
    })
}

/// Whatever stands behind a line break would be a command of its own.
fn one_line(password: &[u8]) -> Result<&[u8], Failure> {
    if password.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        let text = "the password has a line break or a NUL in it, and cannot be sent in a line";
        return Err(Failure::new(Step::LogIn, text));
    }
    Ok(password)
}
