//! The broker: the deposits, the owners, and the answer to each request.

use std::collections::{BTreeMap, HashMap};

use fdbroker_wire::claim::Mode;

use super::expected::Given;
use super::ownership::Model as Ownership;
use super::policy::{RESOURCE, TAGS};
use super::{Expected, Held, Policy, Request, Who};
use crate::Place;

/// Which session: its number, and who it is.
#[derive(Clone, Copy, Debug)]
pub struct SessionOf<'a> {
    /// Its number.
    pub number: usize,
    /// Who connected.
    pub who: &'a Who,
}

/// All that a broker knows.
#[derive(Debug)]
pub struct Broker {
    policy: Policy,
    /// The inode of the resource's file.
    resource: u64,
    sessions: usize,
    /// How many deposits, and how many bytes of payload, one user may have.
    quota: (usize, usize),
    held: BTreeMap<Place, Held>,
    owners: HashMap<i16, Ownership>,
    claims: i32,
    /// Users some of whose files may not have been closed yet, and count until then.
    closing: Vec<u32>,
}

/// A step of a request: done, or the error number.
type Step = Result<(), i32>;

const EACCES: i32 = libc::EACCES;
const ENOENT: i32 = libc::ENOENT;

impl Broker {
    /// One in which nothing lies.
    pub fn new(policy: Policy, resource: u64, sessions: usize, quota: (usize, usize)) -> Self {
        let (held, owners, claims) = (BTreeMap::new(), HashMap::new(), 0);
        Self { policy, resource, sessions, quota, held, owners, claims, closing: Vec::new() }
    }

    /// Puts another policy in force; deposits stay.
    pub fn reload(&mut self, policy: Policy) {
        self.policy = policy;
    }

    /// The policy.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The broker restarts, with another policy.
    pub fn restart(&mut self, policy: Policy, resource: u64) {
        *self = Self::new(policy, resource, self.sessions, self.quota);
    }

    /// All connections end, deposits stay. Returns which session owned which tag.
    pub fn lose_worker(&mut self) -> Vec<(i16, usize)> {
        let owners = std::mem::take(&mut self.owners).into_iter();
        owners.filter_map(|(tag, owner)| Some((tag, owner.owner()?))).collect()
    }

    /// Which tags a session owns.
    pub fn owned_by(&self, session: usize) -> Vec<i16> {
        let owned = self.owners.iter().filter(|(_, owner)| owner.owner() == Some(session));
        owned.map(|(tag, _)| *tag).collect()
    }

    /// A session ends; `who` says who each is.
    pub fn end(&mut self, session: usize, who: &[Who]) {
        let Self { policy, owners, .. } = self;
        for (tag, owner) in owners.iter_mut() {
            owner.end(session, |other| policy.allows_tag(&who[other], "claim", *tag));
        }
    }

    /// Whether a user's files may still count though they are gone.
    pub fn may_count_more(&self, uid: u32) -> bool {
        self.closing.contains(&uid)
    }

    /// Whether a user may have all of these beside what it has, even if nothing of that is replaced.
    pub fn has_room_for<'a>(&'a self, uid: u32, new: impl Iterator<Item = &'a Held>) -> bool {
        let (mut slots, mut bytes) = (0, 0);
        for held in self.held.values().filter(|held| held.owner == uid).chain(new) {
            slots += 1;
            bytes += held.payload.len();
        }
        slots <= self.quota.0 && bytes <= self.quota.1
    }

    /// How many files there are, when all that are gone have been closed: then they count no more.
    pub fn files(&mut self) -> usize {
        self.closing.clear();
        self.held.values().filter(|held| held.file.is_some()).count()
    }

    /// What a request comes to, which is then done. `all` says who each session is.
    pub fn ask(&mut self, session: SessionOf<'_>, request: &Request, all: &[Who]) -> Expected {
        if self.would_wait(session, request) {
            return Expected::Waits;
        }
        let reply = |step: Step| Expected::Reply(step.err().unwrap_or(0));
        match request {
            Request::Get(place) => match self.get(session, *place) {
                Ok((payload, file)) => Expected::Deposit(payload, file),
                Err(errno) => Expected::Reply(errno),
            },
            Request::Add(place, held) => reply(self.add(session, *place, held)),
            Request::Del(place) => reply(self.del(session, *place)),
            Request::Count(tag) => match self.count(session, *tag) {
                Ok((used, total)) => Expected::Info(used, total),
                Err(errno) => Expected::Reply(errno),
            },
            Request::GetMany(tag, indices, take) => {
                let one = |index: &i32| self.get_or_take(session, (*tag, *index), *take);
                Expected::Got(indices.iter().map(one).collect())
            }
            Request::AddMany(tag, new) => {
                let one = |(index, held): &(i32, Held)| {
                    self.add(session, (*tag, *index), held).err().unwrap_or(0)
                };
                Expected::DoneMany(new.iter().map(one).collect())
            }
            Request::DelMany(tag, indices) => {
                let one = |index: &i32| self.del(session, (*tag, *index)).err().unwrap_or(0);
                Expected::DoneMany(indices.iter().map(one).collect())
            }
            Request::List(tag, after) => self.list(session.who, *tag, *after),
            Request::Find(name) => self.find(session.who, name),
            Request::Claim(tag, mode) => self.claim(session, *tag, *mode),
            Request::Release(tag) => {
                let done = self.owner(*tag).release(session.number, None);
                reply(done.then_some(()).ok_or(libc::EINVAL))
            }
            Request::Ready(tag) => reply(self.ready(session, *tag)),
            Request::Withdraw(tag) => {
                let policy = self.policy.clone();
                let may = |other: usize| policy.allows_tag(&all[other], "claim", *tag);
                let done = self.owner(*tag).withdraw(session.number, may);
                reply(done.then_some(()).ok_or(libc::EINVAL))
            }
        }
    }

    fn owner(&mut self, tag: i16) -> &mut Ownership {
        let sessions = self.sessions;
        self.owners.entry(tag).or_insert_with(|| Ownership::new(sessions))
    }

    fn is_serial(tag: i16) -> bool {
        TAGS.iter().any(|(_, id, _, serial)| *id == tag && *serial)
    }

    /// Whether another session owns a serial tag that this request is of: then it may have to wait.
    fn would_wait(&mut self, session: SessionOf<'_>, request: &Request) -> bool {
        let claims = matches!(
            request,
            Request::Claim(..) | Request::Release(_) | Request::Ready(_) | Request::Withdraw(_)
        );
        let Some(tag) = request.tag().filter(|tag| Self::is_serial(*tag) && !claims) else {
            return false;
        };
        let owner = self.owner(tag);
        owner.owner().is_some_and(|owner| owner != session.number)
            && !owner.is_granted(session.number)
    }

    /// Whether the ownership of the tag lets a session do something there; of a serial tag it is the
    /// owner from now on, if nobody is.
    fn turn(&mut self, session: SessionOf<'_>, tag: i16, changes: bool) -> Step {
        let (serial, number) = (Self::is_serial(tag), session.number);
        let owner = self.owner(tag);
        let granted = owner.is_granted(number);
        if changes && owner.is_fenced(number) {
            return Err(libc::EBUSY);
        }
        if owner.is_overtaken(number) && (changes || serial && !granted) {
            return Err(libc::ESTALE);
        }
        if serial {
            assert_eq!(owner.turn(number, 0), Some(true), "nobody waits here");
        }
        Ok(())
    }

    fn allowed(&self, session: SessionOf<'_>, right: &str, place: Place) -> Step {
        self.policy.allows(session.who, right, place).then_some(()).ok_or(EACCES)
    }

    fn get(&mut self, session: SessionOf<'_>, place: Place) -> Result<Given, i32> {
        self.allowed(session, "get", place)?;
        self.turn(session, place.0, false)?;
        if place == RESOURCE {
            return Ok((Vec::new(), Some(self.resource)));
        }
        let held = self.held.get(&place).ok_or(ENOENT)?;
        Ok((held.payload.clone(), held.file))
    }

    fn get_or_take(
        &mut self,
        session: SessionOf<'_>,
        place: Place,
        take: bool,
    ) -> Result<Given, i32> {
        if !take {
            return self.get(session, place);
        }
        self.allowed(session, "del", place)?;
        self.turn_to_take(session, place.0)?;
        self.mine_or_replaceable(session, place)?;
        let got = self.get(session, place)?;
        self.remove(place);
        Ok(got)
    }

    /// As [`Broker::turn`], without becoming the owner: the policy may still say no.
    fn turn_to_take(&mut self, session: SessionOf<'_>, tag: i16) -> Step {
        let (owner, number) = (self.owner(tag), session.number);
        match (owner.is_fenced(number), owner.is_overtaken(number)) {
            (true, _) => Err(libc::EBUSY),
            (_, true) => Err(libc::ESTALE),
            _ => Ok(()),
        }
    }

    fn add(&mut self, session: SessionOf<'_>, place: Place, held: &Held) -> Step {
        self.allowed(session, "add", place)?;
        let accepted = TAGS.iter().any(|(_, id, accept, _)| {
            *id == place.0 && accept.contains(if held.file.is_some() { "file" } else { "none" })
        });
        accepted.then_some(()).ok_or(libc::EOPNOTSUPP)?;
        self.turn(session, place.0, true)?;
        self.mine_or_replaceable(session, place)?;
        self.within_quota(place, held)?;
        self.remove(place);
        self.held.insert(place, held.clone());
        Ok(())
    }

    fn del(&mut self, session: SessionOf<'_>, place: Place) -> Step {
        self.allowed(session, "del", place)?;
        self.turn(session, place.0, true)?;
        self.held.get(&place).ok_or(ENOENT)?;
        self.mine_or_replaceable(session, place)?;
        self.remove(place);
        Ok(())
    }

    fn mine_or_replaceable(&self, session: SessionOf<'_>, place: Place) -> Step {
        match self.held.get(&place) {
            Some(held) if held.owner != session.who.uid => self.allowed(session, "replace", place),
            _ => Ok(()),
        }
    }

    fn within_quota(&self, place: Place, new: &Held) -> Step {
        let of_user = |(at, held): &(&Place, &Held)| held.owner == new.owner && **at != place;
        let (mut slots, mut bytes) = (1, new.payload.len());
        for (_, held) in self.held.iter().filter(of_user) {
            slots += 1;
            bytes += held.payload.len();
        }
        let within = slots <= self.quota.0 && bytes <= self.quota.1;
        within.then_some(()).ok_or(libc::EDQUOT)
    }

    fn remove(&mut self, place: Place) {
        if let Some(Held { owner, file: Some(_), .. }) = self.held.remove(&place) {
            self.closing.push(owner);
        }
    }

    fn count(&mut self, session: SessionOf<'_>, tag: i16) -> Result<(i32, i32), i32> {
        self.policy.allows_tag(session.who, "tag", tag).then_some(()).ok_or(EACCES)?;
        self.turn(session, tag, false)?;
        let here = || self.held.iter().filter(|((of, _), _)| *of == tag);
        let largest = here().map(|((_, index), _)| *index).max();
        let resource = (RESOURCE.0 == tag).then_some(RESOURCE.1);
        let total: usize = here().map(|(_, held)| held.payload.len()).sum();
        let total = i32::try_from(total).expect("the quota is smaller");
        Ok((largest.max(resource).map_or(0, |index| index + 1), total))
    }

    fn list(&self, who: &Who, tag: Option<i16>, after: Option<Place>) -> Expected {
        let deposits = self.held.iter().map(|(place, held)| (*place, false, held.file.is_some()));
        let resource = (RESOURCE, true, true);
        let mut all: Vec<_> =
            deposits.filter(|(place, ..)| *place != RESOURCE).chain([resource]).collect();
        all.retain(|(place, ..)| {
            tag.is_none_or(|tag| tag == place.0)
                && after.is_none_or(|after| after < *place)
                && self.policy.allows(who, "list", *place)
        });
        all.sort_unstable();
        Expected::Listing(all)
    }

    fn find(&self, who: &Who, name: &str) -> Expected {
        let found = match name {
            "r0" => Some((RESOURCE.0, Some(RESOURCE.1))),
            name => meaning(name),
        };
        match found {
            Some((tag, index)) if self.policy.allows_any(who, tag, index) => {
                Expected::Found(tag, index)
            }
            _ => Expected::Reply(EACCES),
        }
    }

    fn claim(&mut self, session: SessionOf<'_>, tag: i16, mode: Mode) -> Expected {
        if !self.policy.allows_tag(session.who, "claim", tag) {
            return Expected::Reply(EACCES);
        }
        self.claims += 1;
        let number = self.claims;
        match self.owner(tag).claim(session.number, number, mode, false) {
            Some(state) => Expected::Claimed(state),
            // It claims already; or it is not its own, to be claimed again.
            None if self.owner(tag).claims(session.number) => Expected::Reply(libc::EINVAL),
            None => Expected::Reply(libc::ESTALE),
        }
    }

    fn ready(&mut self, session: SessionOf<'_>, tag: i16) -> Step {
        self.policy.allows_tag(session.who, "claim", tag).then_some(()).ok_or(EACCES)?;
        let owner = self.owner(tag);
        match owner.ready(session.number) {
            true => Ok(()),
            false if owner.claims(session.number) => Err(libc::EBUSY),
            false => Err(libc::EINVAL),
        }
    }
}

/// The tag and index that a name means, by its tag's name or number.
fn meaning(name: &str) -> Option<(i16, Option<i32>)> {
    let (tag, index) = match name.split_once('/') {
        Some((tag, index)) => (tag, Some(index.parse().ok()?)),
        None => (name, None),
    };
    let named = TAGS.iter().find(|(name, ..)| *name == tag).map(|(_, id, ..)| *id);
    Some((named.or_else(|| tag.parse().ok())?, index))
}
