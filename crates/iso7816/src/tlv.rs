//! BER-TLV data objects (ISO/IEC 7816-4, 6.3; ISO/IEC 8825-1, 8.1).
//!
//! Reading borrows from the input and checks every bound; lengths of up to four bytes and tags
//! of up to four bytes are accepted. Writing uses the shortest length.

/// A tag of one to four bytes, as the number that its bytes make: `0x4F`, `0x9F70`, `0xBF0C`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(pub u32);

/// One data object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tlv<'a> {
    /// The tag.
    pub tag: Tag,
    /// The value.
    pub value: &'a [u8],
}

/// Why bytes are not BER-TLV. Offsets count from the start of the bytes given to the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TlvError {
    /// The tag is cut short.
    #[error("the tag at offset {0} is cut short")]
    TagCut(usize),
    /// More than four tag bytes.
    #[error("the tag at offset {0} has more than four bytes")]
    TagTooLong(usize),
    /// The length is cut short.
    #[error("the length at offset {0} is cut short")]
    LengthCut(usize),
    /// Indefinite, or more than four length bytes.
    #[error("the length at offset {0} is of a form that cards do not use")]
    LengthForm(usize),
    /// The value runs past the end.
    #[error("the value at offset {offset} has {found} of its {expected} bytes")]
    ValueCut {
        /// Where the value begins.
        offset: usize,
        /// What the length says.
        expected: usize,
        /// The bytes left.
        found: usize,
    },
    /// A required object is not there.
    #[error("the data object {0:X} is missing")]
    Missing(u32),
    /// An object that may stand once stands twice.
    #[error("the data object {0:X} stands more than once")]
    Duplicate(u32),
}

impl Tag {
    /// Whether the value is itself made of data objects (bit 6 of the first byte).
    pub fn is_constructed(self) -> bool {
        let first = self.0.to_be_bytes().into_iter().find(|byte| *byte != 0).unwrap_or(0);
        first & 0x20 != 0
    }

    /// The tag's bytes.
    pub fn to_bytes(self) -> Vec<u8> {
        let bytes = self.0.to_be_bytes();
        let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(3);
        bytes[start..].to_vec()
    }
}

/// Reads data objects one after another. Stops for good at the first error.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
    failed: bool,
}

impl<'a> Reader<'a> {
    /// Reads `bytes` from their beginning.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0, failed: false }
    }

    fn take_tag(&mut self) -> Result<Tag, TlvError> {
        let start = self.offset;
        let first = *self.bytes.get(start).ok_or(TlvError::TagCut(start))?;
        let mut value = u32::from(first);
        self.offset += 1;
        if first & 0x1F != 0x1F {
            return Ok(Tag(value));
        }
        loop {
            let next = *self.bytes.get(self.offset).ok_or(TlvError::TagCut(start))?;
            if self.offset - start == 4 {
                return Err(TlvError::TagTooLong(start));
            }
            value = value << 8 | u32::from(next);
            self.offset += 1;
            if next & 0x80 == 0 {
                return Ok(Tag(value));
            }
        }
    }

    fn take_length(&mut self) -> Result<usize, TlvError> {
        let start = self.offset;
        let first = *self.bytes.get(start).ok_or(TlvError::LengthCut(start))?;
        self.offset += 1;
        let count = match first {
            0..=0x7F => return Ok(usize::from(first)),
            0x81..=0x84 => usize::from(first & 0x7F),
            _ => return Err(TlvError::LengthForm(start)),
        };
        let bytes = self.bytes.get(self.offset..self.offset + count).ok_or(TlvError::LengthCut(start))?;
        self.offset += count;
        Ok(bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)))
    }

    fn take(&mut self) -> Result<Tlv<'a>, TlvError> {
        let tag = self.take_tag()?;
        let expected = self.take_length()?;
        let offset = self.offset;
        let rest = &self.bytes[offset..];
        let value = rest.get(..expected).ok_or(TlvError::ValueCut { offset, expected, found: rest.len() })?;
        self.offset += expected;
        Ok(Tlv { tag, value })
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Result<Tlv<'a>, TlvError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.offset >= self.bytes.len() {
            return None;
        }
        let taken = self.take();
        self.failed = taken.is_err();
        Some(taken)
    }
}

/// All data objects of `bytes`, in order.
pub fn parse_all(bytes: &[u8]) -> Result<Vec<Tlv<'_>>, TlvError> {
    Reader::new(bytes).collect()
}

/// The value of the first object with `tag` at this level, if any; errors in what stands before it.
pub fn find(bytes: &[u8], tag: u32) -> Result<Option<&[u8]>, TlvError> {
    for object in Reader::new(bytes) {
        let object = object?;
        if object.tag.0 == tag {
            return Ok(Some(object.value));
        }
    }
    Ok(None)
}

/// The value of the object with `tag`, which must stand exactly once at this level.
pub fn find_one(bytes: &[u8], tag: u32) -> Result<&[u8], TlvError> {
    let mut found = None;
    for object in Reader::new(bytes) {
        let object = object?;
        if object.tag.0 == tag && found.replace(object.value).is_some() {
            return Err(TlvError::Duplicate(tag));
        }
    }
    found.ok_or(TlvError::Missing(tag))
}

/// Appends one data object to `out`.
pub fn write(out: &mut Vec<u8>, tag: u32, value: &[u8]) {
    out.extend(Tag(tag).to_bytes());
    write_length(out, value.len());
    out.extend(value);
}

/// One data object as bytes.
pub fn encode(tag: u32, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len() + 6);
    write(&mut out, tag, value);
    out
}

/// Appends a BER length in its shortest form.
pub fn write_length(out: &mut Vec<u8>, length: usize) {
    match length {
        0..=0x7F => out.push(length as u8),
        0x80..=0xFF => out.extend([0x81, length as u8]),
        0x100..=0xFFFF => {
            out.push(0x82);
            out.extend((length as u16).to_be_bytes());
        }
        0x1_0000..=0xFF_FFFF => {
            out.push(0x83);
            out.extend(&(length as u32).to_be_bytes()[1..]);
        }
        _ => {
            out.push(0x84);
            out.extend((length as u32).to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_a_select_response() {
        let bytes = hex::decode("6F108408A000000632010105A5049F08010200").unwrap();
        let error = parse_all(&bytes).unwrap_err();
        assert_eq!(error, TlvError::LengthCut(19));
        let fci = find_one(&bytes[..18], 0x6F).unwrap();
        assert_eq!(find_one(fci, 0x84).unwrap().len(), 8);
        let proprietary = find_one(fci, 0xA5).unwrap();
        assert_eq!(find_one(proprietary, 0x9F08).unwrap(), &[2]);
        assert_eq!(find_one(proprietary, 0x9F0C), Err(TlvError::Missing(0x9F0C)));
    }

    #[test]
    fn refuses_what_is_cut_or_malformed() {
        let cases = [
            ("9F", TlvError::TagCut(0)),
            ("9F8180808001", TlvError::TagTooLong(0)),
            ("4F", TlvError::LengthCut(1)),
            ("4F80", TlvError::LengthForm(1)),
            ("4F8500000000000000", TlvError::LengthForm(1)),
            ("4F8201", TlvError::LengthCut(1)),
            ("4F05A000", TlvError::ValueCut { offset: 2, expected: 5, found: 2 }),
            ("4F84FFFFFFFF00", TlvError::ValueCut { offset: 6, expected: 0xFFFF_FFFF, found: 1 }),
        ];
        for (text, error) in cases {
            assert_eq!(parse_all(&hex::decode(text).unwrap()), Err(error), "{text}");
        }
    }

    #[test]
    fn a_required_object_stands_once() {
        let bytes = hex::decode("4F01014F0102").unwrap();
        assert_eq!(find(&bytes, 0x4F).unwrap(), Some(&[1][..]));
        assert_eq!(find_one(&bytes, 0x4F), Err(TlvError::Duplicate(0x4F)));
    }

    proptest! {
        #[test]
        fn writing_then_reading_gives_the_same_object(
            tag in prop_oneof![Just(0x4Fu32), Just(0x9F70), Just(0xBF0C), Just(0xE3), Just(0x7FA021)],
            value in proptest::collection::vec(any::<u8>(), 0..70_000),
        ) {
            let bytes = encode(tag, &value);
            prop_assert_eq!(parse_all(&bytes).unwrap(), vec![Tlv { tag: Tag(tag), value: &value }]);
        }
    }

    /// Any bytes are read without a panic, and no more is read than was given.
    #[test]
    fn fuzz_reader() {
        bolero::check!().for_each(|bytes: &[u8]| {
            let total: usize = Reader::new(bytes).flatten().map(|object| object.value.len()).sum();
            assert!(total <= bytes.len());
        });
    }
}
