//! How a job tells a log-in that the policy spells out.

use fdbroker_policy::{ScriptAuth, ScriptStep};

use super::values::Values;

const PROTOCOL: &str = "protocol";
const USER: &str = "user";
const STEP: &str = "step";

pub(super) fn values(auth: &ScriptAuth) -> Values {
    let mut values = Values::default();
    values.add(PROTOCOL, &auth.protocol);
    auth.user.iter().for_each(|user| values.add(USER, user));
    auth.steps.iter().for_each(|step| values.add(STEP, step.to_string()));
    values
}

pub(super) fn read(values: &mut Values) -> Option<ScriptAuth> {
    Some(ScriptAuth {
        protocol: values.take(PROTOCOL)?,
        user: values.take(USER),
        password: None,
        steps: steps(&values.take_all(STEP))?,
    })
}

fn steps(texts: &[String]) -> Option<Vec<ScriptStep>> {
    texts.iter().map(|text| ScriptStep::parse(text).ok()).collect()
}
