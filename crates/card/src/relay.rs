//! A channel whose card is at the far end of requests that somebody else makes.
//!
//! ```text
//! procedure  --steps-->  RelayChannel | RelayPort  --steps-->  reply to the phone
//! procedure <-responses-  RelayChannel | RelayPort <-responses- next request of the phone
//! ```
//!
//! The procedure awaits its [`RelayChannel`]; the conversation that serves the phone's requests holds
//! the [`RelayPort`]. At most one list is on its way, so the mailbox is bounded by it. Neither end knows
//! a runtime, a clock or a socket.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use tsm_iso7816::ResponseApdu;

use crate::channel::{CardChannel, ChannelError, check_answer};
use crate::step::Step;

/// The procedure's end.
#[derive(Debug)]
pub struct RelayChannel(Arc<Mutex<Mailbox>>);

/// The conversation's end.
#[derive(Debug)]
pub struct RelayPort(Arc<Mutex<Mailbox>>);

/// Why responses were not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeliverError {
    /// No list is waiting for an answer.
    #[error("no steps are waiting for an answer")]
    NothingAsked,
    /// The responses cannot be an answer to the list.
    #[error(transparent)]
    BadAnswer(ChannelError),
}

#[derive(Debug, Default)]
struct Mailbox {
    list: List,
    channel_waker: Option<Waker>,
    port_waker: Option<Waker>,
    channel_gone: bool,
    port_gone: bool,
}

#[derive(Debug, Default)]
enum List {
    #[default]
    None,
    /// Asked by the procedure, not yet fetched by the port.
    Asked(Vec<Step>),
    /// Fetched by the port; the steps stay here to check the answer against.
    Sent(Vec<Step>),
    Answered(Vec<ResponseApdu>),
}

/// Two ends of a new relay.
pub fn relay() -> (RelayChannel, RelayPort) {
    let mailbox = Arc::new(Mutex::new(Mailbox::default()));
    (RelayChannel(mailbox.clone()), RelayPort(mailbox))
}

impl CardChannel for RelayChannel {
    async fn exchange(&mut self, steps: Vec<Step>) -> Result<Vec<ResponseApdu>, ChannelError> {
        {
            let mut mailbox = lock(&self.0);
            if mailbox.port_gone {
                return Err(ChannelError::NotSent);
            }
            mailbox.list = List::Asked(steps);
            wake(&mut mailbox.port_waker);
        }
        poll_fn(|context| {
            let mut mailbox = lock(&self.0);
            match std::mem::take(&mut mailbox.list) {
                List::Answered(responses) => Poll::Ready(Ok(responses)),
                List::Asked(_) if mailbox.port_gone => Poll::Ready(Err(ChannelError::NotSent)),
                List::Sent(_) if mailbox.port_gone => Poll::Ready(Err(ChannelError::OutcomeUnknown)),
                waiting => {
                    mailbox.list = waiting;
                    mailbox.channel_waker = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}

impl RelayPort {
    /// The next list for the card, or `None` when the procedure has ended.
    pub async fn next_steps(&mut self) -> Option<Vec<Step>> {
        poll_fn(|context| {
            let mut mailbox = lock(&self.0);
            match std::mem::take(&mut mailbox.list) {
                List::Asked(steps) => {
                    mailbox.list = List::Sent(steps.clone());
                    Poll::Ready(Some(steps))
                }
                _ if mailbox.channel_gone => Poll::Ready(None),
                waiting => {
                    mailbox.list = waiting;
                    mailbox.port_waker = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Gives the card's responses to the list last fetched. The first answer counts; the phone is not
    /// trusted, and responses that cannot be an answer to the list are refused.
    pub fn deliver(&mut self, responses: Vec<ResponseApdu>) -> Result<(), DeliverError> {
        let mut mailbox = lock(&self.0);
        let List::Sent(steps) = &mailbox.list else { return Err(DeliverError::NothingAsked) };
        check_answer(steps, &responses).map_err(DeliverError::BadAnswer)?;
        mailbox.list = List::Answered(responses);
        wake(&mut mailbox.channel_waker);
        Ok(())
    }
}

impl Drop for RelayChannel {
    fn drop(&mut self) {
        let mut mailbox = lock(&self.0);
        mailbox.channel_gone = true;
        wake(&mut mailbox.port_waker);
    }
}

impl Drop for RelayPort {
    fn drop(&mut self) {
        let mut mailbox = lock(&self.0);
        mailbox.port_gone = true;
        wake(&mut mailbox.channel_waker);
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

// Nothing panics while the mailbox is locked, so a poisoned lock still guards a whole state.
fn lock(mailbox: &Mutex<Mailbox>) -> MutexGuard<'_, Mailbox> {
    mailbox.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::block_on;
    use tsm_iso7816::CommandApdu;

    fn step() -> Step {
        Step::transmit(CommandApdu::new(0x80, 0xCA, 0, 0x44))
    }

    #[test]
    fn a_procedure_on_another_thread_is_served_list_by_list() {
        let (mut channel, mut port) = relay();
        let procedure = std::thread::spawn(move || {
            block_on(async {
                let first = channel.exchange(vec![step()]).await.unwrap();
                let second = channel.exchange(vec![step(), step()]).await.unwrap();
                (first.len(), second.len())
            })
        });
        let mut lists = Vec::new();
        while let Some(steps) = block_on(port.next_steps()) {
            lists.push(steps.len());
            port.deliver(steps.iter().map(|_| ResponseApdu::success([])).collect()).unwrap();
        }
        assert_eq!(lists, [1, 2]);
        assert_eq!(procedure.join().unwrap(), (1, 2));
    }

    #[test]
    fn answers_to_nothing_and_impossible_answers_are_refused() {
        let (mut channel, mut port) = relay();
        assert_eq!(port.deliver(vec![]), Err(DeliverError::NothingAsked));
        let procedure = std::thread::spawn(move || block_on(channel.exchange(vec![step()])));
        assert_eq!(block_on(port.next_steps()).unwrap().len(), 1);
        assert!(matches!(port.deliver(vec![]), Err(DeliverError::BadAnswer(_))));
        port.deliver(vec![ResponseApdu::success([])]).unwrap();
        assert_eq!(port.deliver(vec![ResponseApdu::success([1])]), Err(DeliverError::NothingAsked));
        assert_eq!(procedure.join().unwrap().unwrap(), [ResponseApdu::success([])]);
    }

    #[test]
    fn a_lost_conversation_says_whether_the_card_may_have_acted() {
        let (mut channel, port) = relay();
        drop(port);
        assert_eq!(block_on(channel.exchange(vec![step()])), Err(ChannelError::NotSent));

        let (mut channel, mut port) = relay();
        let procedure = std::thread::spawn(move || block_on(channel.exchange(vec![step()])));
        assert!(block_on(port.next_steps()).is_some());
        drop(port);
        assert_eq!(procedure.join().unwrap(), Err(ChannelError::OutcomeUnknown));
    }
}
