//! What is looked at by inotify(7): the policy files while an older policy is in force, and where devices may appear.
//!
//! The user can have no instance or watch left. Then it is said once, shown in the status, and tried again with each beat.

use std::io;
use std::path::{Path, PathBuf};

use super::policy::watch::PolicyWatch;
use super::resources::device_watch::DeviceWatch;
use crate::log::Log;

/// All of it.
#[derive(Default)]
pub(crate) struct Watches {
    /// The policy files, while an older policy is in force.
    pub(crate) policy: PolicyWatch,
    /// Where resources that are opened once may appear.
    pub(crate) devices: DeviceWatch,
    /// Which of them do not look, or not at everything.
    policy_fails: bool,
    devices_fail: bool,
}

impl Watches {
    /// Looks from now on where resources that are opened once may appear.
    pub(crate) fn over_devices(&mut self, paths: &[PathBuf], log: &Log) {
        let looks = DeviceWatch::over(paths).map(|watch| self.devices = watch);
        self.say_of_devices(looks, log);
    }

    /// There may be other directories of these now.
    pub(crate) fn devices_moved(&mut self, paths: &[PathBuf], log: &Log) {
        if !self.devices_fail {
            let looks = self.devices.look_at(paths);
            self.say_of_devices(looks, log);
        }
    }

    /// Looks from now on whether the files of the policy change.
    pub(crate) fn over_policy(&mut self, path: &Path, log: &Log) {
        let looks = PolicyWatch::over(path).map(|watch| self.policy = watch);
        self.say_of_policy(looks, log);
    }

    /// There may be other directories of it now.
    pub(crate) fn policy_moved(&mut self, log: &Log) {
        let looks = self.policy.look_again();
        self.say_of_policy(looks, log);
    }

    /// The files of the policy are in force: there is nothing to wait for.
    pub(crate) fn over_no_policy(&mut self) {
        (self.policy, self.policy_fails) = (PolicyWatch::default(), false);
    }

    /// Tries again what does not look.
    pub(crate) fn try_again(
        &mut self,
        policy: &Path,
        devices: impl Fn() -> Vec<PathBuf>,
        log: &Log,
    ) {
        if self.policy_fails {
            self.over_policy(policy, log);
        }
        if self.devices_fail {
            self.over_devices(&devices(), log);
        }
    }

    /// What does not look, for the status.
    pub(crate) fn failing(&self) -> Vec<String> {
        let all = [(self.devices_fail, "devices"), (self.policy_fails, "policy")];
        all.into_iter().filter(|(fails, _)| *fails).map(|(_, what)| what.to_owned()).collect()
    }

    fn say_of_devices(&mut self, looks: io::Result<()>, log: &Log) {
        let fails = "it cannot be watched whether devices appear";
        let until_then = "until then, those of open = \"startup\" are tried when somebody asks";
        let again = "it is watched again whether devices appear";
        say(&mut self.devices_fail, looks, [fails, until_then, again], log);
    }

    fn say_of_policy(&mut self, looks: io::Result<()>, log: &Log) {
        let fails = "the policy files cannot be watched";
        let until_then = "until then, reload once they are corrected";
        let again = "the policy files are watched again";
        say(&mut self.policy_fails, looks, [fails, until_then, again], log);
    }
}

/// Says that it does not look, or looks again, once.
fn say(fails: &mut bool, looks: io::Result<()>, texts: [&str; 3], log: &Log) {
    let failed = std::mem::replace(fails, looks.is_err());
    let [problem, until_then, again] = texts;
    match looks {
        Err(error) if !failed => log.warn(&format!(
            "{problem}: {error}; the user has used up its inotify instances or watches, or the broker \
             its descriptors: raise fs.inotify.max_user_instances, fs.inotify.max_user_watches or \
             LimitNOFILE=; it is tried again; {until_then}"
        )),
        Ok(()) if failed => log.info(again),
        _ => {}
    }
}
