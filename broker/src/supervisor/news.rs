//! What happens while nobody asks for it, on its way to the log.

use fdbroker_policy::Resource;
use tokio::sync::mpsc::UnboundedSender;

/// Mostly a line of the log.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum News {
    /// Something works again.
    Good(String),
    /// Something fails.
    Bad(String),
    /// A resource was opened that all share.
    Opened(Box<Resource>),
    /// Something that the status tells of, and that is no line of the log.
    Seen,
}

/// Where it goes. A closed channel means that the broker ends.
#[derive(Clone)]
pub(crate) struct Told(pub(crate) UnboundedSender<News>);

impl Told {
    pub(crate) fn good(&self, text: String) {
        let _ = self.0.send(News::Good(text));
    }

    pub(crate) fn seen(&self) {
        let _ = self.0.send(News::Seen);
    }

    pub(crate) fn opened(&self, resource: Resource) {
        let _ = self.0.send(News::Opened(Box::new(resource)));
    }

    pub(crate) fn bad(&self, text: String) {
        let _ = self.0.send(News::Bad(text));
    }
}
