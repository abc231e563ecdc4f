//! ISO/IEC 7816-4: command and response APDUs, status words, application identifiers,
//! logical channels and BER-TLV.
//!
//! This crate holds bytes and rules only. It reads no clock, no randomness, no file, no socket,
//! and it never panics on input: every parser returns an error that says what was wrong and where.

pub mod aid;
pub mod apdu;
pub mod channel;
pub mod status;
pub mod tlv;

pub use aid::{Aid, AidError};
pub use apdu::{ApduError, CommandApdu, ResponseApdu};
pub use channel::{ChannelError, LogicalChannel};
pub use status::StatusWord;
