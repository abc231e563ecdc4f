//! A slot: the thread that keeps one interface of the card reachable.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{SharedCard, connection};
use crate::Interface;

/// The first pause before dialling again, and the longest one.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// How long one attempt to dial may take.
const DIAL_TIMEOUT: Duration = Duration::from_secs(2);

/// Who dials whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrangement {
    /// The card dials a listening `vpcd`, and dials again when it goes away.
    Dial(SocketAddr),
    /// The card listens; port 0 takes any free one.
    Listen(SocketAddr),
}

/// Why a slot did not start.
#[derive(Debug, thiserror::Error)]
pub enum ReaderError {
    /// The address could not be listened on.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The thread could not be started.
    #[error("cannot start the thread of a reader slot")]
    Thread(#[source] io::Error),
}

/// A running slot. Dropping it stops it.
#[derive(Debug)]
pub struct Slot {
    arrangement: Arrangement,
    stopping: Arc<Stopping>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread of a slot and the one that stops it share.
#[derive(Debug, Default)]
struct Stopping {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    stopped: bool,
    /// The open connection, so that a stop can end a read that waits.
    open: Option<TcpStream>,
}

impl Slot {
    /// Starts serving an interface of the card.
    pub fn start(
        card: SharedCard,
        interface: Interface,
        arrangement: Arrangement,
    ) -> Result<Self, ReaderError> {
        let stopping = Arc::new(Stopping::default());
        let shared = Arc::clone(&stopping);
        let (arrangement, run): (_, Box<dyn FnOnce() + Send>) = match arrangement {
            Arrangement::Dial(address) => {
                (arrangement, Box::new(move || dial(address, &card, interface, &shared)))
            }
            Arrangement::Listen(address) => {
                let listener =
                    TcpListener::bind(address).map_err(|source| ReaderError::Bind { address, source })?;
                let address =
                    listener.local_addr().map_err(|source| ReaderError::Bind { address, source })?;
                (Arrangement::Listen(address), Box::new(move || listen(&listener, &card, interface, &shared)))
            }
        };
        let thread = std::thread::Builder::new()
            .name(format!("reader {interface:?}"))
            .spawn(run)
            .map_err(ReaderError::Thread)?;
        Ok(Self { arrangement, stopping, thread: Some(thread) })
    }

    /// The address dialled or listened on, with the port the system chose.
    pub const fn address(&self) -> SocketAddr {
        match self.arrangement {
            Arrangement::Dial(address) | Arrangement::Listen(address) => address,
        }
    }

    /// Stops the slot and waits until its thread has ended; a command that runs is finished first.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.stopping.stop();
        if let Arrangement::Listen(address) = self.arrangement {
            // The thread may wait in accept; a connection of our own wakes it.
            drop(TcpStream::connect_timeout(&address, DIAL_TIMEOUT));
        }
        if thread.join().is_err() {
            tracing::error!(address = %self.address(), "the thread of a reader slot panicked");
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.end();
    }
}

impl Stopping {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self) {
        let mut state = self.state();
        state.stopped = true;
        if let Some(stream) = state.open.take() {
            // The peer may have gone already; then there is nothing left to shut.
            let _ = stream.shutdown(Shutdown::Both);
        }
        self.changed.notify_all();
    }

    fn stopped(&self) -> bool {
        self.state().stopped
    }

    /// Remembers the open connection, unless the slot is stopping.
    fn open(&self, stream: &TcpStream) -> bool {
        let mut state = self.state();
        if !state.stopped {
            state.open = stream.try_clone().ok();
        }
        state.open.is_some()
    }

    fn close(&self) {
        self.state().open = None;
    }

    /// Waits that long, or until the slot stops.
    fn pause(&self, length: Duration) {
        let state = self.state();
        drop(self.changed.wait_timeout_while(state, length, |state| !state.stopped));
    }
}

fn dial(address: SocketAddr, card: &SharedCard, interface: Interface, stopping: &Stopping) {
    let mut pause = BACK_OFF.0;
    while !stopping.stopped() {
        match TcpStream::connect_timeout(&address, DIAL_TIMEOUT) {
            Ok(stream) => {
                pause = BACK_OFF.0;
                serve(&stream, card, interface, stopping);
            }
            Err(error) => {
                tracing::debug!(%address, %error, "the reader is not there");
                pause = (pause * 2).min(BACK_OFF.1);
            }
        }
        stopping.pause(pause);
    }
}

fn listen(listener: &TcpListener, card: &SharedCard, interface: Interface, stopping: &Stopping) {
    while !stopping.stopped() {
        match listener.accept() {
            Ok((stream, _)) => serve(&stream, card, interface, stopping),
            Err(error) => {
                tracing::warn!(%error, "a reader slot could not accept a connection");
                stopping.pause(BACK_OFF.0);
            }
        }
    }
}

fn serve(stream: &TcpStream, card: &SharedCard, interface: Interface, stopping: &Stopping) {
    if !stopping.open(stream) {
        return;
    }
    if let Err(error) = connection::serve(stream, card, interface)
        && !stopping.stopped()
    {
        tracing::warn!(%error, ?interface, "a reader connection broke");
    }
    stopping.close();
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::Ipv4Addr;
    use std::sync::mpsc;

    use super::*;
    use crate::readers::frame::{Control, read_frame, write_frame};
    use crate::readers::{ReaderCard, RemoteCard};

    const ATR: [u8; 4] = [0x3B, 0x80, 0x01, 0x81];

    const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

    /// A card that answers with the command and tells when its power goes.
    struct Echo(mpsc::Sender<(Interface, &'static str)>);

    impl ReaderCard for Echo {
        fn answer_to_reset(&self) -> Vec<u8> {
            ATR.to_vec()
        }

        fn power_on(&mut self, interface: Interface) {
            self.0.send((interface, "on")).unwrap();
        }

        fn power_off(&mut self, interface: Interface) {
            self.0.send((interface, "off")).unwrap();
        }

        fn transmit(&mut self, _: Interface, command: &[u8]) -> Vec<u8> {
            [command, &[0x90, 0x00]].concat()
        }
    }

    fn echo() -> (SharedCard, mpsc::Receiver<(Interface, &'static str)>) {
        let (sender, events) = mpsc::channel();
        (Arc::new(Mutex::new(Echo(sender))), events)
    }

    #[test]
    fn a_tool_dials_a_listening_slot() {
        let (card, events) = echo();
        let slot = Slot::start(card, Interface::Contact, Arrangement::Listen(ANY_PORT)).unwrap();
        let mut remote = RemoteCard::dial(slot.address()).unwrap();
        assert_eq!(remote.power_on().unwrap(), ATR);
        assert_eq!(events.recv().unwrap(), (Interface::Contact, "on"));
        assert_eq!(remote.transmit(&[0x00, 0xA4, 0x04, 0x00]).unwrap(), [0x00, 0xA4, 0x04, 0x00, 0x90, 0x00]);
        drop(remote);
        assert_eq!(events.recv().unwrap(), (Interface::Contact, "off"));

        let mut next = RemoteCard::dial(slot.address()).unwrap();
        assert!(next.transmit(&[0x80, 0xCA, 0x00, 0x42, 0x00]).is_ok());
        slot.stop();
        assert!(next.transmit(&[0x80, 0xCA, 0x00, 0x42, 0x00]).is_err(), "a stop ends the connection");
    }

    #[test]
    fn a_dialling_slot_comes_back_after_the_reader_went() {
        let (card, events) = echo();
        let reader = TcpListener::bind(ANY_PORT).unwrap();
        let address = reader.local_addr().unwrap();
        let slot = Slot::start(card, Interface::Contactless, Arrangement::Dial(address)).unwrap();
        for _ in 0..2 {
            let (mut stream, _) = reader.accept().unwrap();
            write_frame(&mut stream, &[Control::PowerOn.byte()]).unwrap();
            write_frame(&mut stream, &[Control::AnswerToReset.byte()]).unwrap();
            assert_eq!(read_frame(&mut stream).unwrap(), ATR);
            drop(stream);
            assert_eq!(events.recv().unwrap(), (Interface::Contactless, "on"));
            assert_eq!(events.recv().unwrap(), (Interface::Contactless, "off"));
        }
        slot.stop();
    }

    #[test]
    fn a_malformed_frame_ends_the_connection_and_not_the_slot() {
        let (card, _events) = echo();
        let slot = Slot::start(card, Interface::Contact, Arrangement::Listen(ANY_PORT)).unwrap();
        let mut bad = TcpStream::connect(slot.address()).unwrap();
        bad.write_all(&[0, 0]).unwrap();
        assert!(read_frame(&mut bad).is_err());
        assert!(RemoteCard::dial(slot.address()).unwrap().power_on().is_ok());
    }

    #[test]
    fn an_address_in_use_is_refused_by_name() {
        let taken = TcpListener::bind(ANY_PORT).unwrap();
        let address = taken.local_addr().unwrap();
        let (card, _events) = echo();
        let refused = Slot::start(card, Interface::Contact, Arrangement::Listen(address)).unwrap_err();
        assert_eq!(refused.to_string(), format!("cannot listen on {address}"));
    }
}
