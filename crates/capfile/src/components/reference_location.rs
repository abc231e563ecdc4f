//! ReferenceLocation component (JCVM 3.1, 6.12).

use crate::reader::Reader;
use crate::{ComponentTag, Fault, Form, RawComponent};

/// Where one method block holds constant-pool indices.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BlockReferences {
    /// Offsets of one-byte indices into the block, rising.
    pub one_byte: Vec<usize>,
    /// Offsets of two-byte indices into the block, rising.
    pub two_byte: Vec<usize>,
}

/// Where the Method component holds constant-pool indices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferenceLocationComponent {
    /// One for each method block.
    pub blocks: Vec<BlockReferences>,
}

impl ReferenceLocationComponent {
    pub(crate) fn parse(component: &RawComponent, form: Form) -> Result<Self, Fault> {
        let mut reader = Reader::new(ComponentTag::ReferenceLocation, component.info());
        let count = match form {
            Form::Compact => 1,
            Form::Extended => reader.u1("the block count")?,
        };
        let mut blocks = Vec::new();
        for _ in 0..count {
            let one_byte = parse_jumps(&mut reader)?;
            let two_byte = parse_jumps(&mut reader)?;
            blocks.push(BlockReferences { one_byte, two_byte });
        }
        reader.finish()?;
        Ok(Self { blocks })
    }
}

/// Distances from one location to the next. 255 only moves on: the distance goes on in the next byte.
fn parse_jumps(reader: &mut Reader<'_>) -> Result<Vec<usize>, Fault> {
    let count = reader.u2("the count of locations")?;
    let jumps = reader.take(usize::from(count), "the locations")?;
    let mut offset = 0;
    let mut locations = Vec::new();
    for jump in jumps {
        offset += usize::from(*jump);
        if *jump != 255 {
            locations.push(offset);
        }
    }
    if jumps.last() == Some(&255) {
        return Err(reader.fault("the last location is an unfinished distance"));
    }
    Ok(locations)
}
