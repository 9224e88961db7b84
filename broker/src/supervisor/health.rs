//! How everything is, looked at with each beat; and what the worker's status says of it.

use std::time::Instant;

use fdbroker_types::quoted;
use fdbroker_wire::Control;

use super::state::Supervisor;
use super::workers::link::Link;
use super::workers::process::WorkerProcess;
use super::workers::pulse::Pulse;

impl Supervisor {
    /// Sees how everything is; the worker has a `link` if it serves.
    pub(crate) fn beat(
        &mut self,
        pulse: &mut Pulse,
        process: &WorkerProcess,
        link: Option<&mut Link>,
    ) -> Result<(), String> {
        self.listener.let_in(&self.log);
        self.left_behind.reap(&self.log);
        self.deposits.takers.forget_ended();
        self.closers.reap(&self.log);
        self.opener.helpers().reap_soon();
        self.deposits.freed.give_back();
        self.watches.try_again(self.source.path(), || self.opener.watched_paths(), &self.log);
        self.keeper.try_again(Instant::now());
        let Some(link) = link else { return Ok(()) };
        pulse.judge(process.has_ended())?;
        link.control(Control::Ping);
        if !self.listener.is_intact() {
            return Err("it tampered with the listening socket".to_owned());
        }
        self.look_for_socket(link, false);
        self.look_for_door(false);
        self.tell_health(link);
        Ok(())
    }

    /// Makes a deleted socket file again, and sends the worker the socket. If that fails, the
    /// reason is logged once, or each time if `asked`.
    pub(crate) fn look_for_socket(&mut self, link: &mut Link, asked: bool) {
        if !self.listener.restore_file(&self.log, asked) {
            return;
        }
        match self.listener.share() {
            Ok(socket) => link.listener(socket),
            Err(error) => self.log.error(&format!(
                "cannot send the new listening socket to the worker: {error}; raise LimitNOFILE="
            )),
        }
    }

    /// Makes the deleted file of the socket again at which this broker is asked to hand over.
    pub(crate) fn look_for_door(&mut self, asked: bool) {
        // Without the other one, another broker may listen here by now.
        if self.listener.is_in_place() {
            self.door.restore_file(&self.log, asked);
        }
    }

    /// Tells the worker what its status is to say, if that has changed.
    pub(crate) fn tell_health(&mut self, link: &mut Link) {
        let aside: Vec<_> = self.deposits.aside.slots().map(|slot| slot.to_string()).collect();
        let shut_out: Vec<_> =
            self.listener.shut_out_now().iter().map(|user| user.to_string()).collect();
        let mirror = self.deposits.mirror.seen();
        let mut lost = match self.deposits.mirror.lost_at_start() {
            0 => String::new(),
            lost => format!(", {lost} lost at start"),
        };
        if self.deposits.mirror.was_damaged() {
            lost.push_str(", journal damaged at start");
        }
        let mirror = mirror.map_or("none".to_owned(), |seen| {
            format!(
                "{} stored, {} here only, {} to be sent{}",
                seen.deposits,
                seen.left_out,
                seen.waiting,
                if seen.is_full { ", full" } else { "" }
            )
        });
        let health = format!(
            "{}worker_restarts={}\nworkers_left_behind={}\nclosers={}\nhelpers={}\nrelays={}\ndeposits_set_aside={}\nlistener={}\nshut_out={}\nmirror={mirror}{lost}\n",
            self.policy_lines(),
            self.restarts.total(),
            self.left_behind.len(),
            self.closers.len(),
            self.opener.helpers().count(),
            self.opener.helpers().relays().count(),
            or_none(&aside),
            self.listener.state(),
            or_none(&shut_out),
        );
        if health != self.health {
            link.control(Control::Health(health.clone()));
            self.health = health;
        }
    }

    /// What there is to say of where the policy comes from.
    fn policy_lines(&self) -> String {
        let from = match &self.source.older {
            Some(older) => format!("last good, of {}", older.stamp),
            None if self.source.texts.is_empty() => "built-in".to_owned(),
            None => "files".to_owned(),
        };
        let (names, mirror) = (&self.source.names, &self.deposits.mirror);
        let failed: Vec<_> =
            self.opener.failed_ones().map(|name| quoted(name).to_string()).collect();
        let unwatched = self.watches.failing();
        let degraded = [
            (self.source.older.is_some(), "policy"),
            (self.reloads.last_failed(), "reload"),
            (names.has_unknown(), "names"),
            (!failed.is_empty(), "resources"),
            (mirror.lost_at_start() > 0 || mirror.was_damaged(), "mirror"),
            (self.keeper.fails(), "last-good"),
            (!unwatched.is_empty(), "watches"),
        ];
        let degraded = degraded.into_iter().filter(|(is, _)| *is);
        let degraded: Vec<_> = degraded.map(|(_, what)| what.to_owned()).collect();
        format!(
            "degraded={}\npolicy_from={from}\nlast_reload={}\nlast_good_policy={}\nnames_unknown={}\nnames_absent={}\nresources_failed={}\nunwatched={}\n",
            or_none(&degraded),
            self.reloads.last(),
            self.keeper.seen(),
            names.unknown(),
            names.absent(),
            or_none(&failed),
            or_none(&unwatched),
        )
    }
}

fn or_none(all: &[String]) -> String {
    if all.is_empty() { "none".to_owned() } else { all.join(" ") }
}
