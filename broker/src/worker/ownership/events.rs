//! Events that a session has to be told of the tags that it owns or claims, until its connection
//! has room.
//!
//! Of each tag only the latest event waits, and beside it that the tag has become its own. So a
//! peer that claims a tag again and again fills neither this nor the connection of an owner that
//! does not read.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::fd::PeerFd;
use fdbroker_wire::Tag;
use fdbroker_wire::claim::{Event, What};
use tokio::sync::Notify;
use tokio::time::Instant;

/// What has not been sent.
#[derive(Default)]
pub(crate) struct EventQueue {
    news: RefCell<BTreeMap<Tag, Vec<News>>>,
    arrived: Notify,
}

/// One event to be sent.
pub(crate) struct News {
    pub(crate) what: What,
    pub(crate) claim: i32,
    pub(crate) other: Other,
    /// When the claim's time is up, where that is of interest.
    pub(crate) due: Option<Instant>,
}

/// The other process that an event speaks of.
#[derive(Clone, Copy)]
pub(crate) struct Other {
    pub(crate) pid: i32,
    pub(crate) uid: u32,
}

impl EventQueue {
    /// Takes news of a tag in, in the place of what it makes old.
    pub(crate) fn push(&self, tag: Tag, news: News) {
        let mut all = self.news.borrow_mut();
        let waiting = all.entry(tag).or_default();
        let ends = news.what == What::Completed;
        waiting.retain(|old| old.what == What::Owned && !ends);
        waiting.push(news);
        self.arrived.notify_one();
    }

    /// Forgets what waits about a tag: an answer that is about to be sent says it, or more.
    pub(crate) fn forget(&self, tag: Tag) {
        self.news.borrow_mut().remove(&tag);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.news.borrow().is_empty()
    }

    /// The tags that something waits about.
    pub(crate) fn tags(&self) -> Vec<Tag> {
        self.news.borrow().keys().copied().collect()
    }

    /// Waits until there is something. Can be dropped.
    pub(crate) async fn filled(&self) {
        while self.is_empty() {
            self.arrived.notified().await;
        }
    }

    /// Everything that waits, as it is sent.
    pub(crate) fn take(&self) -> Vec<u8> {
        let all = std::mem::take(&mut *self.news.borrow_mut());
        let news =
            all.into_iter().flat_map(|(tag, news)| news.into_iter().map(move |it| (tag, it)));
        news.flat_map(|(tag, news)| news.bytes(tag)).collect()
    }
}

impl News {
    fn bytes(self, tag: Tag) -> Vec<u8> {
        let Self { what, claim, other: Other { pid, uid }, due } = self;
        let left = due.map(|due| due.saturating_duration_since(Instant::now())).unwrap_or_default();
        let message = Event { tag, what, claim, pid, uid, left }.into_extended::<PeerFd>();
        [&message.head()[..], &message.body].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OTHER: Other = Other { pid: 7, uid: 8 };

    /// Returns what is sent after these events of one tag, if nothing was sent in between.
    fn sent(happened: &[What]) -> Vec<What> {
        let (events, tag) = (EventQueue::default(), Tag::new(1).unwrap());
        for &what in happened {
            events.push(tag, News { what, claim: 1, other: OTHER, due: None });
        }
        let waiting =
            events.news.borrow().get(&tag).into_iter().flatten().map(|it| it.what).collect();
        assert_eq!(events.is_empty(), happened.is_empty());
        events.take();
        assert!(events.is_empty());
        waiting
    }

    #[test]
    fn of_one_tag_the_latest_waits() {
        assert_eq!(sent(&[]), []);
        assert_eq!(
            sent(&[What::ClaimedLive, What::Left, What::ClaimedQuiesced]),
            [What::ClaimedQuiesced]
        );
        assert_eq!(sent(&[What::Granted, What::Expired]), [What::Expired]);
    }

    #[test]
    fn that_the_tag_is_ones_own_is_told_before_what_follows_until_it_is_lost() {
        let owned = [What::Granted, What::Owned, What::ClaimedLive, What::Left];
        assert_eq!(sent(&owned), [What::Owned, What::Left]);
        assert_eq!(sent(&[&owned[..], &[What::Completed]].concat()), [What::Completed]);
    }

    #[test]
    fn tags_do_not_displace_each_other_and_an_answer_displaces_its_own() {
        let events = EventQueue::default();
        let tags = [3, 1, 2].map(|tag| Tag::new(tag).unwrap());
        for tag in tags {
            events.push(tag, News { what: What::Left, claim: 1, other: OTHER, due: None });
        }
        events.forget(tags[1]);
        assert_eq!(events.tags(), [tags[2], tags[0]]);
        // A head of eight bytes and a body of twenty, twice.
        assert_eq!(events.take().len(), 56);
    }
}
