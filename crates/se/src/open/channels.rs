//! Interfaces, their logical channels, and what is volatile about them (GPC 2.3.1, 6.3 and 6.4).
//!
//! Each interface has channels, sessions and volatile state of its own, so that a reset of one
//! leaves the other as it was.

use std::any::Any;

use tsm_iso7816::{Aid, LogicalChannel, ResponseApdu};

use super::registry::EntryId;
use crate::card::Interface;
use crate::domain::session::Session;
use crate::open::get_status::Page;
use crate::open::load::Loading;

/// One logical channel of one interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The interface.
    pub interface: Interface,
    /// The channel.
    pub channel: LogicalChannel,
}

/// The channels of one interface.
#[derive(Default)]
pub(crate) struct Channels {
    open: Vec<Option<Box<Channel>>>,
}

/// The volatile state of an open channel.
#[derive(Default)]
pub(crate) struct Channel {
    /// The application selected; none where the default one is gone or the card terminated.
    pub(crate) selected: Option<EntryId>,
    /// The secure channel session, with the domain it belongs to.
    pub(crate) session: Session,
    /// The application that the selected domain forwards STORE DATA to.
    pub(crate) personalising: Option<EntryId>,
    /// The load file being loaded.
    pub(crate) loading: Option<Box<Loading>>,
    /// The load file of a combined load and install process that has not installed yet.
    pub(crate) combined: Option<Aid>,
    /// Where GET STATUS goes on.
    pub(crate) page: Option<Page>,
    /// The number of the STORE DATA block expected next.
    pub(crate) store_data_next: u8,
    /// What is left of an answer that did not fit: GET RESPONSE fetches it.
    pub(crate) rest: Option<Box<ResponseApdu>>,
    /// What an application keeps, selected or being personalised here, and whose it is.
    volatile: Option<(EntryId, Box<dyn Any + Send>)>,
}

impl Channel {
    /// A channel with an application selected and nothing else.
    pub(crate) fn selecting(selected: Option<EntryId>) -> Self {
        Self { selected, ..Self::default() }
    }

    /// The volatile value of application `owner`; nobody sees that of another.
    pub(crate) fn volatile<T: Any + Send + Default>(&mut self, owner: EntryId) -> &mut T {
        if !self.volatile.as_ref().is_some_and(|(whose, value)| *whose == owner && value.is::<T>()) {
            self.volatile = Some((owner, Box::new(T::default())));
        }
        let value = self.volatile.as_mut().and_then(|(_, value)| value.downcast_mut::<T>());
        value.expect("the value was just made of this type")
    }

    /// The volatile value of application `owner`, if it has one here.
    pub(crate) fn volatile_of<T: Any + Send>(&mut self, owner: EntryId) -> Option<&mut T> {
        let (_, value) = self.volatile.as_mut().filter(|(whose, _)| *whose == owner)?;
        value.downcast_mut::<T>()
    }

    /// STORE DATA is for the selected domain itself from now on.
    pub(crate) fn end_personalisation(&mut self) {
        self.personalising = None;
        self.store_data_next = 0;
        self.volatile = None;
    }

    /// Whether something is going on that deleting the application would break.
    pub(crate) fn is_busy(&self) -> bool {
        self.volatile.is_some() || !matches!(self.session, Session::None)
    }

    pub(crate) fn clear_volatile(&mut self) {
        self.volatile = None;
    }
}

impl Channels {
    pub(crate) fn get(&self, channel: LogicalChannel) -> Option<&Channel> {
        self.open.get(channel.index())?.as_deref()
    }

    pub(crate) fn get_mut(&mut self, channel: LogicalChannel) -> Option<&mut Channel> {
        self.open.get_mut(channel.index())?.as_deref_mut()
    }

    /// Opens a channel, or replaces what is on it.
    pub(crate) fn set(&mut self, channel: LogicalChannel, state: Channel) {
        if self.open.len() <= channel.index() {
            self.open.resize_with(channel.index() + 1, || None);
        }
        self.open[channel.index()] = Some(Box::new(state));
    }

    pub(crate) fn close(&mut self, channel: LogicalChannel) {
        if let Some(slot) = self.open.get_mut(channel.index()) {
            *slot = None;
        }
    }

    /// The channels that are open.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (LogicalChannel, &Channel)> {
        self.open.iter().enumerate().filter_map(|(number, channel)| {
            Some((LogicalChannel::new(number as u8).ok()?, channel.as_deref()?))
        })
    }

    /// The channels that are open, to be changed.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (LogicalChannel, &mut Channel)> {
        self.open.iter_mut().enumerate().filter_map(|(number, channel)| {
            Some((LogicalChannel::new(number as u8).ok()?, channel.as_deref_mut()?))
        })
    }

    /// The lowest channel that is not open.
    pub(crate) fn first_free(&self) -> Option<LogicalChannel> {
        (1..LogicalChannel::COUNT as u8)
            .filter_map(|number| LogicalChannel::new(number).ok())
            .find(|channel| self.get(*channel).is_none())
    }
}
