//! Who owns a tag, written a second time from docs/protocol.md, with nothing of the broker's.

use std::collections::VecDeque;

use fdbroker_wire::claim::{Mode, State, What};

/// One tag, and what each session has to do with it.
#[derive(Debug, Default)]
pub struct Model {
    owner: Option<Owner>,
    claims: VecDeque<Claim>,
    sessions: Vec<Session>,
}

#[derive(Clone, Copy, Debug)]
struct Owner {
    session: usize,
    /// It has claimed the tag: so it is told of others that do.
    aware: bool,
    settles: bool,
}

#[derive(Clone, Copy, Debug)]
struct Claim {
    number: i32,
    session: usize,
    mode: Mode,
    settles: bool,
    begun: bool,
    told: bool,
    granted: bool,
}

#[derive(Clone, Debug, Default)]
struct Session {
    /// Its place in the queue for its turn.
    waits: Option<u64>,
    has_turn: bool,
    overtaken: bool,
    news: Vec<(What, i32)>,
}

impl Model {
    /// A tag that nobody owns.
    pub fn new(sessions: usize) -> Self {
        Self { sessions: vec![Session::default(); sessions], ..Self::default() }
    }

    /// Which session owns the tag.
    pub fn owner(&self) -> Option<usize> {
        self.owner.map(|owner| owner.session)
    }

    /// Whether a session's claim is granted.
    pub fn is_granted(&self, session: usize) -> bool {
        self.claims.front().is_some_and(|claim| claim.granted && claim.session == session)
    }

    /// Whether a session claims the tag.
    pub fn claims(&self, session: usize) -> bool {
        self.claims.iter().any(|claim| claim.session == session)
    }

    /// Whether a session must change nothing for now.
    pub fn is_fenced(&self, session: usize) -> bool {
        let granted = self.claims.front().is_some_and(|claim| claim.granted);
        granted && (self.owner() == Some(session) || self.is_granted(session))
    }

    /// Whether another has taken the tag over from a session.
    pub fn is_overtaken(&self, session: usize) -> bool {
        self.sessions[session].overtaken
    }

    /// Whether a session waits for its turn.
    pub fn waits(&self, session: usize) -> bool {
        self.sessions[session].waits.is_some()
    }

    /// Whether a session that waited has its turn now; says so once.
    pub fn has_turn(&mut self, session: usize) -> bool {
        std::mem::take(&mut self.sessions[session].has_turn)
    }

    /// What a session is told.
    pub fn events(&mut self, session: usize) -> Vec<(What, i32)> {
        std::mem::take(&mut self.sessions[session].news)
    }

    /// A request that changes nothing wants its turn. A session that was overtaken gets none,
    /// unless its own claim is granted.
    pub fn turn(&mut self, session: usize, now: u64) -> Option<bool> {
        if self.is_overtaken(session) && !self.is_granted(session) {
            return None;
        }
        if self.owner.is_none() {
            self.owner = Some(Owner { session, aware: false, settles: false });
        }
        let has = self.owner() == Some(session) || self.is_granted(session);
        if !has {
            self.sessions[session].waits = Some(now);
        }
        Some(has)
    }

    /// CLAIM.
    pub fn claim(
        &mut self,
        session: usize,
        number: i32,
        mode: Mode,
        settles: bool,
    ) -> Option<State> {
        let own = self.owner().is_none_or(|owner| owner == session);
        if self.claims.iter().any(|claim| claim.session == session) || mode == Mode::Again && !own {
            return None;
        }
        self.sessions[session].news.clear();
        if own {
            let still = self.owner.filter(|owner| owner.aware).is_none_or(|owner| owner.settles);
            self.becomes_owner(session, settles && still);
            if let Some(first) = self.claims.front_mut() {
                first.told = false;
            }
            self.go_on();
            return Some(State::Owned);
        }
        let (begun, told, granted) = (false, false, false);
        self.claims.push_back(Claim { number, session, mode, settles, begun, told, granted });
        self.go_on();
        self.sessions[session].news.clear();
        Some(if self.is_granted(session) { State::Granted } else { State::Waiting })
    }

    /// RELEASE.
    pub fn release(&mut self, session: usize, to: Option<i32>) -> bool {
        let current = self.claims.front().filter(|claim| claim.told).copied();
        let Some(claim) = current.filter(|_| self.owner() == Some(session)) else { return false };
        if to.is_some_and(|to| to != claim.number) {
            return false;
        }
        if !claim.granted {
            self.grant();
        }
        true
    }

    /// READY.
    pub fn ready(&mut self, session: usize) -> bool {
        let own = self.owner() == Some(session);
        if !own && !self.is_granted(session) {
            return false;
        }
        match self.owner.as_mut() {
            Some(owner) if own => owner.settles = false,
            _ => self.take_over(),
        }
        self.go_on();
        true
    }

    fn take_over(&mut self) {
        let Some(claim) = self.claims.pop_front() else { return };
        if let Some(old) = self.owner() {
            self.sessions[old].overtaken = true;
            self.tell(old, What::Completed, claim.number);
        }
        self.sessions[claim.session].news.clear();
        self.becomes_owner(claim.session, claim.settles);
    }

    /// WITHDRAW.
    pub fn withdraw(&mut self, session: usize, may: impl Fn(usize) -> bool) -> bool {
        let claims = self.claims.iter().any(|claim| claim.session == session);
        let owns = self.owner() == Some(session);
        if !owns && !claims && !self.sessions[session].overtaken {
            return false;
        }
        self.sessions[session].news.clear();
        if owns {
            self.passes_on(may);
        } else if claims {
            self.claim_ends(session, What::Left);
        } else {
            self.sessions[session].overtaken = false;
        }
        true
    }

    /// The session ends.
    pub fn end(&mut self, session: usize, may: impl Fn(usize) -> bool) {
        self.sessions[session].waits = None;
        self.withdraw(session, may);
        self.sessions[session] = Session::default();
    }

    /// The time of a claim is up, or, by 0, the owner's to settle. Whether that can be.
    pub fn expire(&mut self, number: i32) -> bool {
        if number == 0 {
            let Some(owner) = self.owner.as_mut().filter(|owner| owner.settles) else {
                return false;
            };
            owner.settles = false;
            self.go_on();
            return true;
        }
        let current = self.claims.front().copied();
        let Some(claim) = current.filter(|claim| claim.begun && claim.number == number) else {
            return false;
        };
        self.tell(claim.session, What::Expired, number);
        self.claim_ends(claim.session, What::TimedOut);
        true
    }

    /// Whether any time is waited for.
    pub fn is_timed(&self) -> bool {
        let claim = self.claims.front().is_some_and(|claim| claim.begun);
        claim || self.owner.is_some_and(|owner| owner.settles)
    }

    fn claim_ends(&mut self, session: usize, what: What) {
        let at = self.claims.iter().position(|claim| claim.session == session);
        let Some(claim) = at.and_then(|at| self.claims.remove(at)) else { return };
        if let Some(owner) = self.owner().filter(|_| claim.told) {
            self.tell(owner, what, claim.number);
        }
        self.go_on();
    }

    fn passes_on(&mut self, may: impl Fn(usize) -> bool) {
        self.owner = None;
        while let Some(claim) = self.claims.pop_front() {
            if may(claim.session) {
                self.tell(claim.session, What::Owned, claim.number);
                self.becomes_owner(claim.session, claim.settles);
                return self.go_on();
            }
            self.tell(claim.session, What::Expired, claim.number);
        }
        let waiting = self.sessions.iter().enumerate();
        let first = waiting.filter_map(|(at, session)| Some((session.waits?, at))).min();
        if let Some((_, session)) = first {
            self.wake(session);
            self.owner = Some(Owner { session, aware: false, settles: false });
        }
    }

    fn becomes_owner(&mut self, session: usize, settles: bool) {
        self.owner = Some(Owner { session, aware: true, settles });
        self.sessions[session].overtaken = false;
        self.wake(session);
    }

    fn go_on(&mut self) {
        let Some(owner) = self.owner.filter(|owner| !owner.settles) else { return };
        let Some(claim) = self.claims.front_mut() else { return };
        claim.begun = true;
        if !owner.aware || claim.told {
            return;
        }
        claim.told = true;
        let (claim, live) = (*claim, claim.mode == Mode::Live);
        let what = if live { What::ClaimedLive } else { What::ClaimedQuiesced };
        self.tell(owner.session, what, claim.number);
        if live && !claim.granted {
            self.grant();
        }
    }

    fn grant(&mut self) {
        let Some(claim) = self.claims.front_mut() else { return };
        claim.granted = true;
        let claim = *claim;
        self.tell(claim.session, What::Granted, claim.number);
        self.wake(claim.session);
    }

    fn wake(&mut self, session: usize) {
        let session = &mut self.sessions[session];
        session.has_turn |= session.waits.take().is_some();
    }

    /// Only the latest waits to be told, and beside it that the tag is one's own, until it is lost.
    fn tell(&mut self, session: usize, what: What, claim: i32) {
        let news = &mut self.sessions[session].news;
        news.retain(|(old, _)| *old == What::Owned && what != What::Completed);
        news.push((what, claim));
    }
}
