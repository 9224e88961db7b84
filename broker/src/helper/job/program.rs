//! How a job tells a log-in that a program does, which the supervisor starts itself: only what the payload says of it.

use fdbroker_policy::ProgramAuth;

use super::values::Values;

const PROTOCOL: &str = "protocol";
const USER: &str = "user";

pub(super) fn values(auth: &ProgramAuth) -> Values {
    let mut values = Values::default();
    values.add(PROTOCOL, &auth.protocol);
    auth.user.iter().for_each(|user| values.add(USER, user));
    values
}

pub(super) fn read(values: &mut Values) -> Option<ProgramAuth> {
    let (protocol, user) = (values.take(PROTOCOL)?, values.take(USER));
    Some(ProgramAuth { command: Vec::new(), protocol, user, password: None })
}
