//! What is asked, at random.

use fdbroker_wire::claim::{ClaimRequest, Mode};
use fdbroker_wire::many::{Deposit, ManyRequest};
use fdbroker_wire::version2::{Name, Request as Version2};
use fdbroker_wire::{Index, Message, Slot, Tag};

use super::policy::{INDICES, TAGS, UNDECLARED};
use super::{Held, Random};
use crate::{Place, request};

/// A request of one peer.
#[derive(Clone, Debug)]
pub enum Request {
    /// GET.
    Get(Place),
    /// ADD.
    Add(Place, Held),
    /// DEL.
    Del(Place),
    /// TAG.
    Count(i16),
    /// GET_MANY; with true, the slots are emptied.
    GetMany(i16, Vec<i32>, bool),
    /// ADD_MANY.
    AddMany(i16, Vec<(i32, Held)>),
    /// DEL_MANY.
    DelMany(i16, Vec<i32>),
    /// LIST: of this tag or all, behind this slot.
    List(Option<i16>, Option<Place>),
    /// FIND.
    Find(&'static str),
    /// CLAIM.
    Claim(i16, Mode),
    /// RELEASE.
    Release(i16),
    /// READY.
    Ready(i16),
    /// WITHDRAW.
    Withdraw(i16),
}

/// How long a claim may take: longer than a test.
const TIME: std::time::Duration = std::time::Duration::from_secs(3600);
const NAMES: [&str; 9] =
    ["alpha", "beta/3", "gamma/2", "r0", "1/4", "2", "nobody", "alpha/x", "4/1"];

impl Request {
    /// Returns any request, of a user with the id `uid`. `file` returns the inode of a file that a
    /// deposit may bring.
    pub fn random(random: &mut Random, uid: u32, file: &mut dyn FnMut(&mut Random) -> u64) -> Self {
        let (tag, index) = (tag(random), random.below(INDICES as usize + 1) as i32);
        let place = (tag, index);
        match random.below(40) {
            0..9 => Self::Get(place),
            9..19 => Self::Add(place, held(random, uid, file)),
            19..23 => Self::Del(place),
            23..25 => Self::Count(tag),
            25..28 => Self::GetMany(tag, indices(random), random.one_of(1, 3)),
            28 => {
                let indices = indices(random).into_iter();
                Self::AddMany(tag, indices.map(|at| (at, held(random, uid, file))).collect())
            }
            29 => Self::DelMany(tag, indices(random)),
            30 => {
                let within = random.one_of(1, 2).then_some(tag);
                Self::List(within, random.one_of(1, 2).then_some(place))
            }
            31 => Self::Find(random.pick(&NAMES)),
            32..35 => Self::Claim(tag, random.pick(&[Mode::Live, Mode::Quiesced, Mode::Again])),
            35 => Self::Release(tag),
            36..38 => Self::Ready(tag),
            _ => Self::Withdraw(tag),
        }
    }

    /// Which tag it is about, where it is about one.
    pub fn tag(&self) -> Option<i16> {
        match self {
            Self::Get((tag, _)) | Self::Add((tag, _), _) | Self::Del((tag, _)) => Some(*tag),
            Self::Count(tag) | Self::GetMany(tag, ..) | Self::AddMany(tag, _) => Some(*tag),
            Self::DelMany(tag, _) | Self::Claim(tag, _) | Self::Release(tag) => Some(*tag),
            Self::Ready(tag) | Self::Withdraw(tag) => Some(*tag),
            Self::List(..) | Self::Find(_) => None,
        }
    }

    /// What it brings, in order: the inodes of files.
    pub fn files(&self) -> Vec<u64> {
        match self {
            Self::Add(_, held) => held.file.into_iter().collect(),
            Self::AddMany(_, all) => all.iter().filter_map(|(_, held)| held.file).collect(),
            _ => Vec::new(),
        }
    }

    /// As it is sent, without what it brings.
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Get(place) => request::get(*place),
            Self::Add(place, held) => request::add(*place, held.ufd(), &held.payload),
            Self::Del(place) => request::del(*place),
            Self::Count(tag) => request::tag(*tag),
            Self::GetMany(tag, indices, take) => {
                many(ManyRequest::Get { tag: of(*tag), indices: all(indices), take: *take })
            }
            Self::DelMany(tag, indices) => {
                many(ManyRequest::Del { tag: of(*tag), indices: all(indices) })
            }
            Self::AddMany(tag, new) => many(ManyRequest::Add {
                tag: of(*tag),
                deposits: new.iter().map(|(index, held)| deposit(*index, held)).collect(),
            }),
            Self::List(tag, after) => {
                let after = after.and_then(|(tag, index)| Slot::new(tag, index));
                version2(Version2::List { tag: tag.map(of), after })
            }
            Self::Find(name) => version2(Version2::Find(Name::new(*name).expect("a name"))),
            Self::Claim(tag, mode) => claims(ClaimRequest::Claim {
                tag: of(*tag),
                mode: *mode,
                time: TIME,
                settle: false,
            }),
            Self::Release(tag) => claims(ClaimRequest::Release(of(*tag))),
            Self::Ready(tag) => claims(ClaimRequest::Ready(of(*tag))),
            Self::Withdraw(tag) => claims(ClaimRequest::Withdraw(of(*tag))),
        }
    }
}

fn tag(random: &mut Random) -> i16 {
    if random.one_of(1, 30) { UNDECLARED } else { random.pick(&TAGS).1 }
}

fn indices(random: &mut Random) -> Vec<i32> {
    let first = random.below(INDICES as usize) as i32;
    let mut indices: Vec<i32> = (first..=INDICES).collect();
    if random.one_of(1, 3) {
        indices.reverse();
    }
    indices.retain(|_| random.one_of(2, 3));
    indices.push(random.below(INDICES as usize) as i32);
    indices
}

fn held(random: &mut Random, owner: u32, file: &mut dyn FnMut(&mut Random) -> u64) -> Held {
    let payload = vec![random.below(256) as u8; random.below(300)];
    let file = random.one_of(1, 3).then(|| file(random));
    Held { owner, payload, file }
}

fn of(tag: i16) -> Tag {
    Tag::new(tag).expect("it is a tag")
}

fn all(indices: &[i32]) -> Vec<Index> {
    indices.iter().filter_map(|index| Index::new(*index)).collect()
}

/// The descriptor is announced, and travels beside the bytes.
fn deposit(index: i32, held: &Held) -> Deposit<()> {
    let index = Index::new(index).expect("an index");
    let descriptor = held.file.map(drop);
    Deposit { index, ufd: held.ufd(), payload: held.payload.clone().into(), descriptor }
}

fn many(request: ManyRequest<()>) -> Vec<u8> {
    Message::Extended(request.into_extended()).to_bytes()
}

fn version2(request: Version2) -> Vec<u8> {
    Message::<()>::Extended(request.into_extended()).to_bytes()
}

fn claims(request: ClaimRequest) -> Vec<u8> {
    Message::<()>::Extended(request.into_extended()).to_bytes()
}
