//! One connection between a slot and its peer.

use std::net::TcpStream;
use std::sync::PoisonError;

use super::SharedCard;
use super::frame::{Control, FrameError, Message, read_message, write_frame};
use crate::Interface;

/// Serves the peer until it goes away. The interface loses its power with the connection.
pub(super) fn serve(stream: &TcpStream, card: &SharedCard, interface: Interface) -> Result<(), FrameError> {
    stream.set_nodelay(true)?;
    let outcome = exchange(stream, card, interface);
    lock(card, |card| card.power_off(interface));
    match outcome {
        Err(FrameError::Closed) => Ok(()),
        other => other,
    }
}

fn exchange(stream: &TcpStream, card: &SharedCard, interface: Interface) -> Result<(), FrameError> {
    let mut wire = stream;
    loop {
        acknowledge_at_once(stream);
        match read_message(&mut wire)? {
            Message::Control(Control::PowerOff) => lock(card, |card| card.power_off(interface)),
            Message::Control(Control::PowerOn | Control::Reset) => {
                lock(card, |card| card.power_on(interface));
            }
            Message::Control(Control::AnswerToReset) => {
                let answer = lock(card, |card| card.answer_to_reset());
                write_frame(&mut wire, &answer)?;
            }
            Message::Command(command) => {
                let response = lock(card, |card| card.transmit(interface, &command));
                if response.is_empty() {
                    // To the reader a mute card is one that was taken away.
                    return Err(FrameError::Mute);
                }
                write_frame(&mut wire, &response)?;
            }
        }
    }
}

/// Works with the card alone. A panic elsewhere while the card was held leaves it usable: its
/// memory only ever changes by whole commands.
fn lock<T>(card: &SharedCard, work: impl FnOnce(&mut dyn super::ReaderCard) -> T) -> T {
    work(&mut *card.lock().unwrap_or_else(PoisonError::into_inner))
}

/// `vpcd` sends the length and the data of a frame apart, and the second waits for the
/// acknowledgement of the first: a delayed one costs 40 ms. The kernel forgets the option, so it is
/// set before each read; where it is not known the exchange is slower and still right.
#[cfg(target_os = "linux")]
pub(super) fn acknowledge_at_once(stream: &TcpStream) {
    let _ = socket2::SockRef::from(stream).set_tcp_quickack(true);
}

#[cfg(not(target_os = "linux"))]
pub(super) fn acknowledge_at_once(_stream: &TcpStream) {}
