//! The other end of a listening slot: what a tool without PC/SC uses.

use std::net::{SocketAddr, TcpStream};

use super::connection::acknowledge_at_once;
use super::frame::{Control, FrameError, read_frame, write_frame};

/// A card reached over TCP.
#[derive(Debug)]
pub struct RemoteCard {
    stream: TcpStream,
}

/// Why a remote card did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens at the address, or the connection could not be set up.
    #[error("cannot reach a card at {address}")]
    Unreachable {
        /// The address dialled.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The connection broke. Whether the card ran the command is not known.
    #[error("the connection to the card broke")]
    Broken(#[from] FrameError),
}

impl RemoteCard {
    /// Dials a slot.
    pub fn dial(address: SocketAddr) -> Result<Self, ClientError> {
        let unreachable = |source| ClientError::Unreachable { address, source };
        let stream = TcpStream::connect(address).map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        Ok(Self { stream })
    }

    /// Powers the interface and returns the answer to reset.
    pub fn power_on(&mut self) -> Result<Vec<u8>, ClientError> {
        self.control(Control::PowerOn)?;
        self.control(Control::AnswerToReset)?;
        self.answer()
    }

    /// Resets the interface.
    pub fn reset(&mut self) -> Result<(), ClientError> {
        self.control(Control::Reset)
    }

    /// Sends a command APDU and waits for its response APDU.
    pub fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, ClientError> {
        write_frame(&mut &self.stream, command)?;
        self.answer()
    }

    fn control(&mut self, control: Control) -> Result<(), ClientError> {
        Ok(write_frame(&mut &self.stream, &[control.byte()])?)
    }

    fn answer(&mut self) -> Result<Vec<u8>, ClientError> {
        acknowledge_at_once(&self.stream);
        Ok(read_frame(&mut &self.stream)?)
    }
}
