//! What SIGHUP and a peer's request renew while the broker runs: the policy, the audit file, the socket
//! file; and what the worker is told of it.

use std::io;

use fdbroker_policy::{Durability, Resource};
use fdbroker_types::quoted;
use fdbroker_wire::{Control, Errno};

use super::deposits::mirror::NO_MIRROR;
use super::notify;
use super::policy::reload::{Asker, Done, Fresh};
use super::policy::reload_notes::Awaited;
use super::policy_error::ReloadError;
use super::state::Supervisor;
use super::workers::link::Link;
use crate::log::Verdict;

impl Supervisor {
    /// SIGHUP: the policy, the audit file, which may have been moved away, and the socket file.
    pub(crate) fn hang_up(&mut self, mut serving: Option<&mut Link>) {
        // For a worker that is not ready yet, the next beat does it.
        if let Some(link) = serving.as_deref_mut() {
            self.look_for_socket(link, true);
            self.look_for_door(true);
        }
        self.reopen_audit_file(serving);
        self.reload(Asker::Operator);
    }

    /// Makes the audit file again that somebody has deleted: what is written to it is lost.
    pub(crate) fn make_audit_file(&mut self, serving: Option<&mut Link>) {
        if self.reopen_audit_file(serving) {
            self.log.error("the audit file was deleted; it has been recreated");
        }
    }

    /// Opens the audit file again; returns whether it is another one now.
    fn reopen_audit_file(&mut self, serving: Option<&mut Link>) -> bool {
        let another = self.records.reopen();
        match serving {
            Some(link) if another => self.give_other_trail(link),
            Some(_) => {}
            None => self.has_other_trail |= another,
        }
        another
    }

    fn give_other_trail(&self, link: &mut Link) {
        if let Err(error) = self.give_trail(link) {
            self.log.error(&format!(
                "the worker still writes to the old audit file: {error}; send SIGHUP again"
            ));
        }
    }

    /// Sends a worker the audit file, if there is one.
    pub(crate) fn give_trail(&self, link: &mut Link) -> io::Result<()> {
        if let Some(file) = self.records.for_worker()? {
            link.carry_own(Control::Trail, file);
        }
        Ok(())
    }

    /// Tells a worker that is ready what has changed since it got everything.
    pub(crate) fn catch_up(&mut self, link: &mut Link) {
        if std::mem::take(&mut self.has_other_trail) {
            self.give_other_trail(link);
        }
        // It may have begun with this policy. It puts it in force all the same: that tells the
        // operator what the policy leaves out, and those who asked for it that it is done.
        if self.awaited.is_some() {
            link.control(Control::Policy(self.source.setup()));
        }
    }

    /// A policy is in force at the worker.
    pub(crate) fn in_force(&mut self, generation: u32) {
        if let Some(awaited) = self.awaited.take_if(|it| it.generation == generation) {
            // An older one is kept already.
            if self.source.older.is_none() {
                self.keeper.keep(&self.source.texts);
            }
            self.tell_of_strict_tags();
            self.tell_reloaded("serving under the new policy");
            self.note_reload(awaited.began, Ok(awaited.report));
        }
    }

    /// Notes what became of a reload, for those who asked by a signal.
    fn note_reload(&self, began: Option<u64>, outcome: Result<String, String>) {
        self.reload_notes.note(self.listener.path(), began, outcome, &self.told);
    }

    /// Says which tags refuse all deposits, since nothing outlives this broker.
    pub(crate) fn tell_of_strict_tags(&self) {
        if self.deposits.mirror.is_there() {
            return;
        }
        let strict = self.source.policy.tags().filter(|tag| tag.durability == Durability::Strict);
        for tag in strict {
            self.log.error(&format!(
                "tag {}: it is strict (`durability`), and {NO_MIRROR}; each deposit is refused; \
                 start the broker under systemd, as its unit does",
                quoted(&tag.name)
            ));
        }
    }

    /// Tells the service manager, unless another reload is under way, which then tells.
    fn tell_reloaded(&self, status: &str) {
        if self.reloads.are_over() {
            notify::reloaded(status, &self.log);
        }
    }

    pub(crate) fn reload(&mut self, asker: Asker) {
        if matches!(asker, Asker::Session(_) | Asker::Operator) {
            notify::reloading(&self.log);
        }
        self.reloads.ask(asker, &self.source, &self.opener);
    }

    /// Looks names up again, unless an earlier look hangs.
    pub(crate) fn look_names_up(&mut self) {
        if self.reloads.hang() {
            self.retry.again();
        } else {
            self.reload(Asker::Names);
        }
    }

    /// Takes the new policy over and hands it to the worker; or leaves everything as it was.
    pub(crate) fn reloaded(&mut self, (outcome, askers): Done, mut serving: Option<&mut Link>) {
        let is_of_names = askers.iter().all(|asker| *asker == Asker::Names);
        if is_of_names && outcome.is_err() {
            self.retry.again();
            if matches!(outcome, Err(ReloadError::NoNews)) {
                self.reloads.begin(&self.source, &self.opener);
                return;
            }
        }
        let outcome = outcome.and_then(|fresh| {
            self.records.suffice(&fresh.source.policy)?;
            Ok(fresh)
        });
        let is_as_before = self.reloads.note(outcome.as_ref().map(|_| ()).map_err(first_line));
        // Names are looked up again and again, for ever if need be.
        let is_known = is_of_names && is_as_before;
        let outcome = match outcome {
            Ok(fresh) => Ok(self.take_over(*fresh, &askers, serving.as_deref_mut())),
            Err(error) if is_known => Err(failure(&error)),
            Err(error) => Err(self.stay(&error, &askers)),
        };
        let generation = self.source.generation;
        if let Some(link) = serving {
            // Before the askers: they may look.
            self.tell_health(link);
            for ticket in askers.iter().filter_map(Asker::ticket) {
                link.control(Control::Reloaded { ticket, generation, outcome: outcome.clone() });
            }
        }
        self.reloads.begin(&self.source, &self.opener);
    }

    /// Says why the old policy stays in force. Files that are as wrong as before are no news.
    fn stay(&mut self, error: &ReloadError, askers: &[Asker]) -> (Errno, String) {
        let found = error.lines();
        if let Some(older) = &mut self.source.older {
            let before = std::mem::replace(&mut older.reasons, found.clone());
            if before == found && askers.iter().all(|asker| *asker == Asker::Files) {
                return failure(error);
            }
        }
        found.iter().for_each(|line| self.log.error(line));
        let more = if found.len() > 1 { ", and more" } else { "" };
        let first = found.first().map_or("", String::as_str);
        let reason = format!("the old policy stays in force: {first}{more}");
        self.records.reloaded(Verdict::Failed, &reason);
        match &self.source.older {
            None => self.tell_reloaded("the policy could not be reloaded; see the log"),
            Some(older) => self.tell_reloaded(&older.status()),
        }
        let (errno, text) = failure(error);
        self.note_reload(self.began_for(askers), Err(text.clone()));
        (errno, text)
    }

    /// When the reload that has ended began, if some asked for it by a signal.
    fn began_for(&self, askers: &[Asker]) -> Option<u64> {
        askers.contains(&Asker::Operator).then(|| self.reloads.began())
    }

    fn take_over(&mut self, fresh: Fresh, askers: &[Asker], serving: Option<&mut Link>) -> String {
        let Fresh { source, opener, opened, changes } = fresh;
        let policy = &source.policy;
        let (rules, tags) = (policy.rule_count(), policy.tags().count());
        let text = format!("rules: {rules}, tags: {tags}; {changes}");
        if let Some(link) = serving {
            link.control(Control::Policy(source.setup()));
        }
        let readmitted = self.deposits.aside.readmit();
        if readmitted > 0 {
            self.log.warn(&format!(
                "deposits that were set aside: {readmitted}; the next worker restores each whose \
                 slot is still empty"
            ));
        }
        source.odd.iter().for_each(|odd| self.log.warn(odd));
        // Who asked for the one before, which no worker has put in force yet, hears of this one.
        let before = self.awaited.take().and_then(|awaited| awaited.began);
        let (generation, began) = (source.generation, self.began_for(askers).or(before));
        self.awaited = Some(Awaited { generation, began, report: text.clone() });
        if source.older.is_none() {
            if self.source.older.is_some() {
                self.log.info("the policy loads again; it takes the place of the last good one");
            }
            self.watches.over_no_policy();
        }
        self.source = source;
        self.tell_names();
        self.opener = opener;
        self.opener.keep_ready(&self.told);
        self.watch_devices();
        self.records.follow(&self.source.policy);
        opened.iter().for_each(|resource| self.records.opened(resource));
        self.records.reloaded(Verdict::Granted, &text);
        text
    }
}

impl Supervisor {
    /// Says what the policy has loaded in spite of, and looks open names up again later.
    pub(crate) fn tell_names(&mut self) {
        self.source.policy.warnings().iter().for_each(|finding| self.log.warn(&finding.line()));
        self.retry.begin(self.source.names.are_open());
    }

    /// Looks from now on where resources that are opened once may appear.
    pub(crate) fn watch_devices(&mut self) {
        self.watches.over_devices(&self.opener.watched_paths(), &self.log);
    }

    /// Opens what has appeared.
    pub(crate) fn open_again(&mut self) {
        self.watches.devices_moved(&self.opener.watched_paths(), &self.log);
        self.opener.look_again(&self.told);
    }

    /// A resource that had failed, or whose device was replaced, is open.
    pub(crate) fn has_opened(&mut self, resource: &Resource) {
        self.log.info(&format!("resource {} is open", quoted(&resource.name)));
        self.records.opened(resource);
        self.watches.devices_moved(&self.opener.watched_paths(), &self.log);
    }

    /// Says that an older policy is in force, and watches for one that loads.
    pub(crate) fn begin_under_older(&mut self) {
        let Some(older) = &self.source.older else { return };
        older.reasons.iter().for_each(|line| self.log.error(line));
        self.log.error(&older.said());
        self.keeper.has(&older.stamp);
        let first = older.reasons.first().map_or("", String::as_str);
        let reason = format!("started under the last good policy of {}: {first}", older.stamp);
        self.records.reloaded(Verdict::Failed, &reason);
        self.watches.over_policy(self.source.path(), &self.log);
    }
}

fn first_line(error: &ReloadError) -> String {
    error.lines().into_iter().next().unwrap_or_default()
}

/// What a peer that asked for the reload is told, and its error number.
fn failure(error: &ReloadError) -> (Errno, String) {
    (Errno::INVAL, format!("the old policy stays in force:\n{error}"))
}
