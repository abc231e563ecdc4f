//! The line of conversations at one secure element: the first runs, the others wait in order.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tsm_api::ids::ConversationId;
use tsm_domain::SeId;

/// All lines.
#[derive(Debug, Default)]
pub(super) struct Lines(Mutex<HashMap<SeId, Line>>);

#[derive(Debug)]
struct Line {
    places: VecDeque<ConversationId>,
    moved: watch::Sender<()>,
}

/// A place in a line; leaving it lets the next one come forward.
#[derive(Debug)]
pub(super) struct Place {
    lines: Arc<Lines>,
    se: SeId,
    conversation: ConversationId,
    moved: watch::Receiver<()>,
}

impl Lines {
    /// Who stands at a secure element, the running one first.
    pub(super) fn at(&self, se: &SeId) -> Vec<ConversationId> {
        self.with(|lines| lines.get(se).map(|line| line.places.iter().copied().collect()).unwrap_or_default())
    }

    /// Takes the last place.
    pub(super) fn join(self: &Arc<Self>, se: SeId, conversation: ConversationId) -> Place {
        let moved = self.with(|lines| {
            let line = lines
                .entry(se)
                .or_insert_with(|| Line { places: VecDeque::new(), moved: watch::channel(()).0 });
            line.places.push_back(conversation);
            line.moved.subscribe()
        });
        Place { lines: self.clone(), se, conversation, moved }
    }

    fn with<T>(&self, work: impl FnOnce(&mut HashMap<SeId, Line>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Place {
    /// How many stand ahead.
    pub(super) fn ahead(&self) -> usize {
        let position = self.lines.with(|lines| {
            let line = lines.get(&self.se)?;
            line.places.iter().position(|id| *id == self.conversation)
        });
        position.unwrap_or(0)
    }

    /// Waits until nobody stands ahead.
    pub(super) async fn first(&mut self) {
        while self.ahead() > 0 {
            // The line lives as long as anybody stands in it, so the sender cannot be gone.
            if self.moved.changed().await.is_err() {
                return;
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.lines.with(|lines| {
            let Some(line) = lines.get_mut(&self.se) else { return };
            line.places.retain(|id| *id != self.conversation);
            line.moved.send_replace(());
            if line.places.is_empty() {
                lines.remove(&self.se);
            }
        });
    }
}
