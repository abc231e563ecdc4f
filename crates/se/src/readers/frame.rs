//! The frames of `vpcd`: a two-byte length in network order, then that many bytes.

use std::io::{self, Read, Write};

/// A one-byte message from the reader to the card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// 00: take the power away.
    PowerOff,
    /// 01: give power.
    PowerOn,
    /// 02: warm reset.
    Reset,
    /// 04: send the answer to reset. The only control that is answered.
    AnswerToReset,
}

/// What the reader says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A control of one byte.
    Control(Control),
    /// A command APDU.
    Command(Vec<u8>),
}

/// Why a frame could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The peer closed the connection between two frames.
    #[error("the peer closed the connection")]
    Closed,
    /// A frame of one byte that names no control.
    #[error("control byte {0:02X} has no meaning")]
    Control(u8),
    /// A frame of no byte at all.
    #[error("a frame is empty")]
    Empty,
    /// The card has no power and answered nothing.
    #[error("the card is mute")]
    Mute,
    /// A message that does not fit the length field.
    #[error("a frame carries at most 65535 bytes, not {0}")]
    TooLong(usize),
    /// The socket failed, or the frame was cut short.
    #[error("the connection failed")]
    Io(#[from] io::Error),
}

impl Control {
    /// The byte on the wire.
    pub const fn byte(self) -> u8 {
        match self {
            Self::PowerOff => 0x00,
            Self::PowerOn => 0x01,
            Self::Reset => 0x02,
            Self::AnswerToReset => 0x04,
        }
    }
}

impl TryFrom<u8> for Control {
    type Error = FrameError;

    fn try_from(byte: u8) -> Result<Self, FrameError> {
        match byte {
            0x00 => Ok(Self::PowerOff),
            0x01 => Ok(Self::PowerOn),
            0x02 => Ok(Self::Reset),
            0x04 => Ok(Self::AnswerToReset),
            other => Err(FrameError::Control(other)),
        }
    }
}

/// Reads one frame and says what it is.
pub fn read_message(from: &mut impl Read) -> Result<Message, FrameError> {
    let frame = read_frame(from)?;
    match frame[..] {
        [] => Err(FrameError::Empty),
        [control] => Control::try_from(control).map(Message::Control),
        _ => Ok(Message::Command(frame)),
    }
}

/// Reads the bytes of one frame. An end of the stream before its first byte is [`FrameError::Closed`].
pub(super) fn read_frame(from: &mut impl Read) -> Result<Vec<u8>, FrameError> {
    let mut length = [0; 2];
    match from.read(&mut length[..1]) {
        Ok(0) => return Err(FrameError::Closed),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Err(FrameError::Closed),
        Err(error) => return Err(error.into()),
    }
    from.read_exact(&mut length[1..])?;
    let mut frame = vec![0; usize::from(u16::from_be_bytes(length))];
    from.read_exact(&mut frame)?;
    Ok(frame)
}

/// Writes one frame in a single write, so that it leaves in a single segment.
pub fn write_frame(to: &mut impl Write, bytes: &[u8]) -> Result<(), FrameError> {
    let length = u16::try_from(bytes.len()).map_err(|_| FrameError::TooLong(bytes.len()))?;
    let mut frame = Vec::with_capacity(2 + bytes.len());
    frame.extend(length.to_be_bytes());
    frame.extend(bytes);
    to.write_all(&frame)?;
    Ok(to.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_controls_and_commands() {
        let mut wire = &[0, 1, 4, 0, 5, 0, 0xA4, 4, 0, 0, 0, 1, 2][..];
        assert_eq!(read_message(&mut wire).unwrap(), Message::Control(Control::AnswerToReset));
        assert_eq!(read_message(&mut wire).unwrap(), Message::Command(vec![0, 0xA4, 4, 0, 0]));
        assert_eq!(read_message(&mut wire).unwrap(), Message::Control(Control::Reset));
        assert!(matches!(read_message(&mut wire), Err(FrameError::Closed)));
    }

    #[test]
    fn refuses_what_is_no_message() {
        assert!(matches!(read_message(&mut &[0, 0][..]), Err(FrameError::Empty)));
        assert!(matches!(read_message(&mut &[0, 1, 9][..]), Err(FrameError::Control(9))));
        assert!(matches!(read_message(&mut &[0][..]), Err(FrameError::Io(_))));
        assert!(matches!(read_message(&mut &[0, 3, 1, 2][..]), Err(FrameError::Io(_))));
        assert!(matches!(write_frame(&mut Vec::new(), &[0; 65_536]), Err(FrameError::TooLong(65_536))));
    }

    #[test]
    fn any_bytes_are_read_or_refused() {
        bolero::check!().for_each(|wire: &[u8]| {
            let mut rest = wire;
            while read_message(&mut rest).is_ok() {}
        });
    }
}
