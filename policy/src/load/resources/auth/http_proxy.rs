//! Reads `http-proxy`: the log-in to a proxy with HTTP's CONNECT.

use super::names::USER;
use super::proxy;
use crate::ProxyAuth;
use crate::load::reader::Section;
use crate::load::report::Report;

pub(super) fn read(section: Section<'_, '_>, report: &mut Report<'_>) -> Option<ProxyAuth> {
    let auth = proxy::read(section, report);
    let Some(user) = section.get(USER.key) else { return auth };
    let is_allowed = |character: char| character != ':' && !character.is_control();
    if user.get_ref().as_str().is_none_or(|user| user.chars().all(is_allowed)) {
        return auth;
    }
    let message = "`user` has a character that a log-in to an HTTP proxy does not allow";
    report.add(&user.span(), message, "write a name without `:` and without control characters");
    None
}
