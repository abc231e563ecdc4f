//! Command and response APDUs, short and extended (ISO/IEC 7816-4, 5.1 and 5.2).

use crate::status::StatusWord;

/// The largest number of data bytes that a short command or response carries.
pub const SHORT_MAX: usize = 255;
/// The largest number of data bytes that an extended command carries.
pub const EXTENDED_MAX: usize = 65_535;

/// A command APDU: header, command data, and the number of response bytes expected.
///
/// The four cases of ISO/IEC 7816-3 12.1 are its combinations of `data` empty or not and `ne`
/// absent or not. `data` holds at most [`EXTENDED_MAX`] bytes and `ne` is 1 to 65,536; whoever
/// encodes gets an error otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CommandApdu {
    /// Class byte, secure-messaging and channel bits included.
    pub cla: u8,
    /// Instruction byte.
    pub ins: u8,
    /// First parameter.
    pub p1: u8,
    /// Second parameter.
    pub p2: u8,
    /// Command data, without Lc.
    pub data: Vec<u8>,
    /// N_e: the largest number of response bytes expected; `None` when none are (cases 1 and 3).
    pub ne: Option<u32>,
}

/// Why bytes are not an APDU, or an APDU cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ApduError {
    /// A command begins with CLA, INS, P1 and P2.
    #[error("a command APDU has at least 4 bytes, and this one has {0}")]
    NoHeader(usize),
    /// Lc and the bytes that follow it disagree.
    #[error("Lc says {expected} data bytes, and {found} bytes follow it")]
    Length {
        /// What Lc says.
        expected: usize,
        /// The bytes found behind Lc.
        found: usize,
    },
    /// Extended form with Lc of zero but more bytes than an Le.
    #[error("an extended length field is cut short or says zero")]
    ExtendedLength,
    /// More data than any form carries.
    #[error("a command APDU carries at most 65535 data bytes, not {0}")]
    TooMuchData(usize),
    /// N_e beyond 65,536, or zero.
    #[error("the expected length is 1 to 65536, not {0}")]
    ExpectedLength(u32),
    /// A response ends with SW1 SW2.
    #[error("a response APDU has at least 2 bytes, and this one has {0}")]
    NoStatus(usize),
}

impl CommandApdu {
    /// A case 1 command: no data, no response data expected.
    pub const fn new(cla: u8, ins: u8, p1: u8, p2: u8) -> Self {
        Self { cla, ins, p1, p2, data: Vec::new(), ne: None }
    }

    /// The same command with data.
    #[must_use]
    pub fn with_data(mut self, data: impl Into<Vec<u8>>) -> Self {
        self.data = data.into();
        self
    }

    /// The same command, expecting up to `ne` response bytes (1 to 65,536).
    #[must_use]
    pub const fn with_ne(mut self, ne: u32) -> Self {
        self.ne = Some(ne);
        self
    }

    /// The same command, expecting as many bytes as a short response holds (Le = 00).
    #[must_use]
    pub const fn with_any_response(self) -> Self {
        self.with_ne(256)
    }

    /// Reads a command in any of the four cases, short or extended.
    pub fn parse(bytes: &[u8]) -> Result<Self, ApduError> {
        let &[cla, ins, p1, p2, ref body @ ..] = bytes else {
            return Err(ApduError::NoHeader(bytes.len()));
        };
        let (data, ne) = match *body {
            [] => (&[][..], None),
            [le] => (&[][..], Some(short_ne(le))),
            [0, high, low] => (&[][..], Some(extended_ne(high, low))),
            [0, _] => return Err(ApduError::ExtendedLength),
            [0, high, low, ref rest @ ..] => parse_extended(high, low, rest)?,
            [lc, ref rest @ ..] => parse_short(lc, rest)?,
        };
        Ok(Self { cla, ins, p1, p2, data: data.to_vec(), ne })
    }

    /// Whether the command needs the extended form.
    pub fn needs_extended(&self) -> bool {
        self.data.len() > SHORT_MAX || self.ne.is_some_and(|ne| ne > 256)
    }

    /// Writes the command: short when it fits, extended otherwise.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ApduError> {
        if self.needs_extended() { self.to_extended_bytes() } else { self.to_short_bytes() }
    }

    /// Writes the command in extended form even where the short one would do.
    pub fn to_extended_bytes(&self) -> Result<Vec<u8>, ApduError> {
        let length = u16::try_from(self.data.len()).map_err(|_| ApduError::TooMuchData(self.data.len()))?;
        let mut out = Vec::with_capacity(9 + self.data.len());
        out.extend([self.cla, self.ins, self.p1, self.p2]);
        if length > 0 || self.ne.is_some() {
            out.push(0);
        }
        if length > 0 {
            out.extend(length.to_be_bytes());
            out.extend(&self.data);
        }
        if let Some(ne) = self.ne {
            out.extend(checked_ne(ne, 65_536)?.to_be_bytes());
        }
        Ok(out)
    }

    fn to_short_bytes(&self) -> Result<Vec<u8>, ApduError> {
        let mut out = Vec::with_capacity(6 + self.data.len());
        out.extend([self.cla, self.ins, self.p1, self.p2]);
        if !self.data.is_empty() {
            out.push(self.data.len() as u8);
            out.extend(&self.data);
        }
        if let Some(ne) = self.ne {
            out.push(checked_ne(ne, 256)? as u8);
        }
        Ok(out)
    }
}

fn short_ne(le: u8) -> u32 {
    if le == 0 { 256 } else { u32::from(le) }
}

fn extended_ne(high: u8, low: u8) -> u32 {
    match u16::from_be_bytes([high, low]) {
        0 => 65_536,
        ne => u32::from(ne),
    }
}

/// N_e as its length field has it: the maximum is written as zero.
fn checked_ne(ne: u32, maximum: u32) -> Result<u16, ApduError> {
    if ne == 0 || ne > maximum {
        return Err(ApduError::ExpectedLength(ne));
    }
    Ok(if ne == maximum { 0 } else { ne as u16 })
}

fn parse_short(lc: u8, rest: &[u8]) -> Result<(&[u8], Option<u32>), ApduError> {
    let expected = usize::from(lc);
    match rest.len().checked_sub(expected) {
        Some(0) => Ok((rest, None)),
        Some(1) => Ok((&rest[..expected], Some(short_ne(rest[expected])))),
        _ => Err(ApduError::Length { expected, found: rest.len() }),
    }
}

fn parse_extended(high: u8, low: u8, rest: &[u8]) -> Result<(&[u8], Option<u32>), ApduError> {
    let expected = usize::from(u16::from_be_bytes([high, low]));
    if expected == 0 {
        return Err(ApduError::ExtendedLength);
    }
    match rest.len().checked_sub(expected) {
        Some(0) => Ok((rest, None)),
        Some(2) => Ok((&rest[..expected], Some(extended_ne(rest[expected], rest[expected + 1])))),
        _ => Err(ApduError::Length { expected, found: rest.len() }),
    }
}

/// A response APDU: data and status word.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ResponseApdu {
    /// Response data, without the status word.
    pub data: Vec<u8>,
    /// SW1 SW2.
    pub status: StatusWord,
}

impl ResponseApdu {
    /// A response with data.
    pub fn new(data: impl Into<Vec<u8>>, status: StatusWord) -> Self {
        Self { data: data.into(), status }
    }

    /// A response of `data` and 9000.
    pub fn success(data: impl Into<Vec<u8>>) -> Self {
        Self::new(data, StatusWord::SUCCESS)
    }

    /// Reads a response: data, then two status bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, ApduError> {
        let [data @ .., sw1, sw2] = bytes else {
            return Err(ApduError::NoStatus(bytes.len()));
        };
        Ok(Self::new(data, StatusWord(u16::from_be_bytes([*sw1, *sw2]))))
    }

    /// Writes the response.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.data.len() + 2);
        out.extend(&self.data);
        out.extend(self.status.0.to_be_bytes());
        out
    }
}

impl From<StatusWord> for ResponseApdu {
    fn from(status: StatusWord) -> Self {
        Self::new(Vec::new(), status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The four cases in both forms, as ISO/IEC 7816-3 12.1 draws them.
    #[test]
    fn reads_and_writes_the_four_cases() {
        let cases: [(&str, &[u8], Option<u32>); 8] = [
            ("80F28000", &[], None),
            ("80F2800000", &[], Some(256)),
            ("80F280000A", &[], Some(10)),
            ("80F28000024F00", &[0x4F, 0], None),
            ("80F28000024F0000", &[0x4F, 0], Some(256)),
            ("80F28000000000", &[], Some(65_536)),
            ("80F28000000200", &[], Some(512)),
            ("80F280000000024F000400", &[0x4F, 0], Some(1024)),
        ];
        for (text, data, ne) in cases {
            let bytes = hex::decode(text).unwrap();
            let command = CommandApdu::parse(&bytes).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!((command.data.as_slice(), command.ne), (data, ne), "{text}");
            assert_eq!(hex::encode_upper(command.to_bytes().unwrap()), text);
        }
    }

    #[test]
    fn refuses_lengths_that_disagree() {
        let cases = [
            ("", ApduError::NoHeader(0)),
            ("00A404", ApduError::NoHeader(3)),
            ("00A4040005A0", ApduError::Length { expected: 5, found: 1 }),
            ("00A4040001A00000", ApduError::Length { expected: 1, found: 3 }),
            ("00A404000000", ApduError::ExtendedLength),
            ("00A4040000000001", ApduError::ExtendedLength),
            ("00A40400000005A0", ApduError::Length { expected: 5, found: 1 }),
            ("00A40400000001A000", ApduError::Length { expected: 1, found: 2 }),
        ];
        for (text, error) in cases {
            assert_eq!(CommandApdu::parse(&hex::decode(text).unwrap()), Err(error), "{text}");
        }
    }

    #[test]
    fn refuses_to_write_what_no_form_carries() {
        let long = CommandApdu::new(0, 0xD6, 0, 0).with_data(vec![0; 65_536]);
        assert_eq!(long.to_bytes(), Err(ApduError::TooMuchData(65_536)));
        for ne in [0, 65_537] {
            let command = CommandApdu::new(0, 0xB0, 0, 0).with_ne(ne);
            assert_eq!(command.to_bytes(), Err(ApduError::ExpectedLength(ne)));
        }
    }

    proptest! {
        #[test]
        fn writing_then_reading_gives_the_same_command(
            header in any::<[u8; 4]>(),
            data in proptest::collection::vec(any::<u8>(), 0..600),
            ne in proptest::option::of(1u32..=65_536),
        ) {
            let [cla, ins, p1, p2] = header;
            let command = CommandApdu { cla, ins, p1, p2, data, ne };
            prop_assert_eq!(CommandApdu::parse(&command.to_bytes().unwrap()), Ok(command.clone()));
            prop_assert_eq!(CommandApdu::parse(&command.to_extended_bytes().unwrap()), Ok(command));
        }

        #[test]
        fn reading_then_writing_gives_the_same_bytes_or_an_error(
            bytes in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            if let Ok(command) = CommandApdu::parse(&bytes) {
                let written = [command.to_bytes().unwrap(), command.to_extended_bytes().unwrap()];
                prop_assert!(written.contains(&bytes));
            }
        }
    }

    /// Any bytes are read without a panic; under a fuzzer this explores the parser.
    #[test]
    fn fuzz_parse() {
        bolero::check!().for_each(|bytes: &[u8]| {
            let _ = CommandApdu::parse(bytes);
            let _ = ResponseApdu::parse(bytes);
        });
    }
}
