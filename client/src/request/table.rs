//! The table of requests: one row for each, with its documentation.
//!
//! A session passes `requests!` the name of a macro, which makes a method of each row. So no
//! session lacks a request, or describes it in other words.
//!
//! A row has the documentation and errors of the request, its name and arguments, and the type that
//! it returns. It names the variant of [`Outcome`](crate::Outcome) that holds that, and says how
//! the request is made.

/// What the rows name.
pub(crate) mod names {
    pub(crate) use std::os::fd::BorrowedFd;
    pub(crate) use std::time::Duration;

    pub(crate) use fdbroker_wire::claim::{Claimed, Mode};
    pub(crate) use fdbroker_wire::version2::{Entry as Listed, Found, Inspected};
    pub(crate) use fdbroker_wire::{Index, Info, Slot, Tag};

    pub(crate) use crate::deposit::{Deposit, ManyDeposits, NewDeposit};
    pub(crate) use crate::error::{Error, Operation};
    pub(crate) use crate::request::claim::{Claim, OfClaimed};
    pub(crate) use crate::request::many::{AddMany, DelMany, GetMany};
    pub(crate) use crate::request::pages::Pages;
    pub(crate) use crate::request::slot::{Add, Del, Get, HowMuch};
    pub(crate) use crate::request::version2::{Find, Greet, List, Operate};
}

/// Calls a macro with the table.
macro_rules! requests {
    ($make_methods:ident) => {
        $make_methods! {
            /// Deposits a descriptor, a payload, or both, and replaces what the slot held.
            ///
            /// The descriptor stays open here. The broker gets a duplicate, which shares the offset and
            /// O_NONBLOCK with it. Its number here becomes [`Deposit::ufd`].
            #[errors = "[`Error::TooLarge`] for a payload of more than \
                [`MAX_PAYLOAD`](crate::MAX_PAYLOAD) bytes; any other but [`Error::Absent`]."]
            fn add(slot: Slot, descriptor: Option<BorrowedFd<'_>>, payload: &[u8]) -> () as Done {
                Add::new(slot, descriptor, payload)
            }

            /// Deposits a descriptor under another number than it has here, which the next owner finds as
            /// [`Deposit::ufd`]. A number above 2³¹−1 counts as that.
            #[errors = "Those of [`add`](Self::add)."]
            fn add_numbered(
                slot: Slot,
                descriptor: BorrowedFd<'_>,
                number: u32,
                payload: &[u8],
            ) -> () as Done {
                Add::numbered(slot, descriptor, number, payload)
            }

            /// Gets what is in a slot, and leaves it there.
            #[errors = "[`Error::Absent`] if the slot is empty; any other but [`Error::TooLarge`]."]
            fn get(slot: Slot) -> Deposit as Deposit {
                Get::new(slot)
            }

            /// Deletes what is in a slot.
            #[errors = "[`Error::Absent`] if the slot is empty; any other but [`Error::TooLarge`]."]
            fn del(slot: Slot) -> () as Done {
                Del::new(slot)
            }

            /// Asks how much a tag holds: its largest used index plus one, and the sum of its payloads in
            /// bytes.
            #[errors = "Any but [`Error::TooLarge`] and [`Error::Absent`]."]
            fn tag(number: Tag) -> Info as Info {
                HowMuch::new(number)
            }

            /// Gets what is in many slots of a tag, and leaves it there. The slots are asked for in as
            /// many messages as it takes, of up to 253 slots each.
            #[errors = "What can happen to any request, for all slots; each slot can be refused or absent \
                by itself."]
            fn get_many(tag: Tag, indices: &[Index]) -> ManyDeposits as Many {
                GetMany::new(tag, indices, false)
            }

            /// Gets what is in many slots of a tag, and deletes it there. For every other session that is
            /// one step, made once the answer has been sent. What was not sent is still there. What was
            /// sent is lost if this process has no room for it, or never reads it.
            #[errors = "Those of [`get_many`](Self::get_many); each slot needs the rights to get and to \
                delete."]
            fn take_many(tag: Tag, indices: &[Index]) -> ManyDeposits as Many {
                GetMany::new(tag, indices, true)
            }

            /// Deposits in many slots of a tag, and replaces what each of them held.
            #[errors = "[`Error::TooLarge`] before anything is sent; what can happen to any request, for \
                all slots; each slot can be refused by itself."]
            fn add_many(
                tag: Tag,
                deposits: &[NewDeposit<'_>],
            ) -> Vec<Result<(), Error>> as DoneMany {
                AddMany::new(tag, deposits)
            }

            /// Deletes what is in many slots of a tag.
            #[errors = "What can happen to any request, for all slots; each slot can be refused or absent \
                by itself."]
            fn del_many(tag: Tag, indices: &[Index]) -> Vec<Result<(), Error>> as DoneMany {
                DelMany::new(tag, indices)
            }

            /// Asks what a name means: a resource's name, `tagname/7`, `7/3`, or a tag's name alone. Of a slot, that tells
            /// whether the broker fills it, or users do.
            #[errors = "[`Error::Refused`] if there is no such name, or no right of this process on what it \
                names: the broker does not tell which. [`Error::BadName`] for what cannot be a name."]
            fn find(name: &str) -> Found as Found {
                Find::new(name)
            }

            /// Lists the slots of one tag or of all, in the order of tag and index: those on which this
            /// process has the right `list`. The broker does not tell whether there are others.
            ///
            /// A long listing comes in several answers. It may or may not show what changes in between.
            #[errors = "[`Error::Version1`], or what can happen to any request. An empty listing is no \
                error."]
            fn list(tag: Option<Tag>) -> Vec<Listed> as Listed {
                List::new(tag)
            }

            /// Makes the broker read its policy again, and returns what it reports. Needs the right
            /// `operate`.
            #[errors = "[`Error::Reported`] with the findings if the new policy is not valid; the old one \
                stays in force. [`Error::Refused`] without the right."]
            fn reload() -> String as Report {
                Operate::reload()
            }

            /// Deletes a deposit that no rule reaches, of any user; without a slot, all of them.
            /// Returns what the broker reports. Needs the right `operate`. If the broker is restarted
            /// during the request, the report covers only what was still to be deleted.
            #[errors = "[`Error::Absent`] or [`Error::Reported`] if there is nothing to delete in that \
                slot; [`Error::Refused`] without the right."]
            fn purge(slot: Option<Slot>) -> String as Report {
                Operate::purge(slot)
            }

            /// Asks how the broker is doing, and returns its report. Needs the right `operate`.
            #[errors = "[`Error::Refused`] without the right."]
            fn status() -> String as Report {
                Operate::status()
            }

            /// Asks who has what on terms, and returns a line for each lease. Without the right `inspect` or `operate`, these are
            /// the leases of the own user, and the last line begins with `#` and says so.
            #[errors = "What can happen to any request."]
            fn leases() -> String as Report {
                Pages::leases()
            }

            /// Asks for all slots that hold something, all connections to the broker, or all users who have something
            /// there. Returns a line for each, a JSON object. Needs the right `inspect`.
            #[errors = "[`Error::Refused`] without the right."]
            fn inspect(what: Inspected) -> String as Report {
                Pages::inspect(what)
            }

            /// Ends a lease by its number, which the payload of what was handed out has as `lease`. What was
            /// handed out is shut down, in every process that has it. A process can end the leases of its own user; those of
            /// others take the right `operate`.
            #[errors = "[`Error::Refused`] if the user has no such lease; [`Error::Reported`] if nobody has."]
            fn end_lease(number: u64) -> String as Report {
                Operate::end_lease(number)
            }

            /// Asks for the broker's instance number, which is another one after each of its starts.
            #[errors = "[`Error::Version1`], or what can happen to any request."]
            fn instance() -> i64 as Instance {
                Greet::new(Operation::Instance)
            }

            /// Claims a tag: to own it at once if nobody owns it, or else to take it over from its owner.
            ///
            /// `time` is how long it may take from the turn of this claim until [`ready`](Self::ready).
            /// It is at least 1 ms and at most an hour; what is beyond counts as that.
            #[errors = "[`Error::TakenOver`] for [`Mode::Again`] if the tag belongs to another process; \
                [`Error::Unserved`], [`Error::Version1`]; or what can happen to any request."]
            fn claim(tag: Tag, mode: Mode, time: Duration) -> Claimed as Claimed {
                Claim::new(tag, mode, time)
            }

            /// Claims a tag like [`claim`](Self::claim), and settles before the next claim has its
            /// turn.
            ///
            /// The next claimant waits for at most `time`, until the new owner has called
            /// [`ready`](Self::ready) once it owns the tag. If the owner called `ready` as a
            /// claimant, it calls it a second time. So the next claimant finds what the new owner
            /// brings.
            #[errors = "Those of [`claim`](Self::claim)."]
            fn claim_and_settle(tag: Tag, mode: Mode, time: Duration) -> Claimed as Claimed {
                Claim::settling(tag, mode, time)
            }

            /// As the owner of a tag that is claimed as [`Mode::Quiesced`]: lets the present claimant take
            /// it over, whichever it is. See [`release_to`](Self::release_to).
            #[errors = "[`Error::Failed`] (EINVAL) if nobody claims the tag; or what can happen to any \
                request."]
            fn release(tag: Tag) -> () as Done {
                OfClaimed::release(tag)
            }

            /// Releases a tag to one claim and no other, by the number that its [`Event`](crate::Event) has. That claim
            /// may have ended, and another one may have begun.
            #[errors = "[`Error::Failed`] (EINVAL) if that claim has ended; or what can happen to any \
                request."]
            fn release_to(tag: Tag, claim: i32) -> () as Done {
                OfClaimed::release_to(tag, claim)
            }

            /// As the claimant to whom the tag was granted: owns it from now on. As its owner: has settled,
            /// see [`claim_and_settle`](Self::claim_and_settle).
            #[errors = "[`Error::Failed`]: EBUSY if the tag was not granted yet, EINVAL if nothing is \
                claimed; or what can happen to any request."]
            fn ready(tag: Tag) -> () as Done {
                OfClaimed::ready(tag)
            }

            /// Gives up a claim, or the tag. If the tag is claimed, the claimant then owns it.
            #[errors = "[`Error::Failed`] (EINVAL) if this session neither claims nor owns the tag; or \
                what can happen to any request."]
            fn withdraw(tag: Tag) -> () as Done {
                OfClaimed::withdraw(tag)
            }
        }
    };
}

pub(crate) use requests;
