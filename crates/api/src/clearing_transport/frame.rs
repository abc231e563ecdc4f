//! The frame around each message.

use std::fmt;

use subtle::ConstantTimeEq as _;

/// What stands in a frame beside its body and length.
const AROUND: usize = 12 + 1 + 1 + 16;
/// The longest frame that four digits can announce.
const LONGEST: usize = 9_999;

/// The block that ties a reply to its request: twelve characters, which the field's text does not explain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SyncBlock([u8; 12]);

impl SyncBlock {
    /// The block of the request with this number.
    pub fn numbered(number: u64) -> Self {
        let mut block = [b'0'; 12];
        let digits = (number % 1_000_000_000_000).to_string();
        block[12 - digits.len()..].copy_from_slice(digits.as_bytes());
        Self(block)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 12] {
        &self.0
    }
}

/// A MAC could not be computed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the MAC of a frame cannot be computed: {0}")]
pub struct MacError(pub String);

/// Computes the MAC of a frame.
pub trait FrameMac: Send + Sync {
    /// The MAC over these bytes.
    fn mac(&self, covered: &[u8]) -> Result<[u8; 8], MacError>;
}

/// No key is agreed: the MAC is zeros.
#[derive(Clone, Copy, Debug)]
pub struct NoMac;

impl FrameMac for NoMac {
    fn mac(&self, _covered: &[u8]) -> Result<[u8; 8], MacError> {
        Ok([0; 8])
    }
}

/// Why bytes are not a frame.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameError {
    /// The length is not four digits, or too small for a frame.
    #[error("the length of a frame is not readable")]
    Length,
    /// The synchronisation block has other than printable characters.
    #[error("the synchronisation block of a frame is not readable")]
    Sync,
    /// It is compressed, which nobody agreed on.
    #[error("the frame is compressed, which is not agreed")]
    Compressed,
    /// It is encrypted, which nobody agreed on.
    #[error("the frame is encrypted, which is not agreed")]
    Encrypted,
    /// Too long to be announced.
    #[error("a body of {0} bytes does not fit into a frame")]
    TooLong(usize),
    /// The MAC is wrong.
    #[error("the MAC of a frame is wrong")]
    Mac,
    /// The MAC cannot be computed.
    #[error(transparent)]
    NoKey(#[from] MacError),
}

/// A frame.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// Ties a reply to its request.
    pub sync: SyncBlock,
    /// The message.
    pub body: Vec<u8>,
}

// Bodies hold card numbers.
impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame({} bytes)", self.body.len())
    }
}

impl FrameError {
    /// What the other side is told.
    pub const fn outcome(&self) -> super::Outcome {
        match self {
            Self::Mac => super::Outcome::NotAdmitted,
            Self::NoKey(_) => super::Outcome::Unavailable,
            Self::Length | Self::Sync | Self::Compressed | Self::Encrypted | Self::TooLong(_) => {
                super::Outcome::Malformed
            }
        }
    }
}

impl Frame {
    /// The frame on the wire.
    pub fn encode(&self, mac: &dyn FrameMac) -> Result<Vec<u8>, FrameError> {
        let length = AROUND + self.body.len();
        if length > LONGEST {
            return Err(FrameError::TooLong(self.body.len()));
        }
        let mut bytes = format!("{length:04}").into_bytes();
        bytes.extend_from_slice(&self.sync.0);
        bytes.extend_from_slice(b"00");
        bytes.extend_from_slice(&self.body);
        let mac = mac.mac(&bytes[4..])?;
        bytes.extend_from_slice(hex::encode_upper(mac).as_bytes());
        Ok(bytes)
    }

    /// Reads a frame without its length.
    fn decode(bytes: &[u8], mac: &dyn FrameMac) -> Result<Self, FrameError> {
        let (covered, told) = bytes.split_at_checked(bytes.len() - 16).ok_or(FrameError::Length)?;
        let (head, body) = covered.split_at_checked(14).ok_or(FrameError::Length)?;
        let sync: [u8; 12] = head[..12].try_into().map_err(|_| FrameError::Length)?;
        if !sync.iter().all(|byte| (b' '..=b'~').contains(byte)) {
            return Err(FrameError::Sync);
        }
        let expected = hex::encode_upper(mac.mac(covered)?);
        if !bool::from(expected.as_bytes().ct_eq(told)) {
            return Err(FrameError::Mac);
        }
        match (head[12], head[13]) {
            (b'0', b'0') => Ok(Self { sync: SyncBlock(sync), body: body.to_vec() }),
            (b'0', _) => Err(FrameError::Encrypted),
            _ => Err(FrameError::Compressed),
        }
    }
}

/// Cuts a stream into frames.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
}

impl Decoder {
    /// Bytes came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, if it has come. After an error the stream is of no further use.
    pub fn next(&mut self, mac: &dyn FrameMac) -> Result<Option<Frame>, FrameError> {
        let Some(digits) = self.buffer.get(..4) else { return Ok(None) };
        if !digits.iter().all(u8::is_ascii_digit) {
            return Err(FrameError::Length);
        }
        let length = digits.iter().fold(0, |length, digit| length * 10 + usize::from(digit - b'0'));
        if length < AROUND {
            return Err(FrameError::Length);
        }
        let Some(bytes) = self.buffer.get(4..4 + length) else { return Ok(None) };
        let frame = Frame::decode(bytes, mac)?;
        self.buffer.drain(..4 + length);
        Ok(Some(frame))
    }

    /// The synchronisation block of the frame that comes next, as far as it has come and can be read: what the
    /// reply to a frame repeats that is refused.
    pub fn sync(&self) -> Option<SyncBlock> {
        let sync: [u8; 12] = self.buffer.get(4..16)?.try_into().ok()?;
        sync.iter().all(|byte| (b' '..=b'~').contains(byte)).then_some(SyncBlock(sync))
    }

    /// Whether a part of a frame has come.
    pub fn is_within_a_frame(&self) -> bool {
        !self.buffer.is_empty()
    }
}
