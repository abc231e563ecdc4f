//! ReferenceLocation against the indices that the code really holds (JCVM 3.1, 6.12). The card changes the
//! bytes at these places when it links, so a wrong one destroys code.

use std::collections::BTreeMap;

use super::Remark;
use super::code::Code;
use crate::components::BlockReferences;
use crate::{CapFile, ComponentTag, Fault};

pub(super) fn check(cap: &CapFile, code: &Code, remarks: &mut Vec<Remark>) -> Result<(), Fault> {
    let listed = &cap.reference_location.blocks;
    if listed.len() != code.blocks.len() {
        let reason = format!("{} blocks are listed, and there are {}", listed.len(), code.blocks.len());
        return Err(Fault::new(ComponentTag::ReferenceLocation, 0, reason));
    }
    for (number, (listed, found)) in listed.iter().zip(&code.blocks).enumerate() {
        let block = &cap.method.blocks[number];
        let places = places(listed, block.bytes.len()).map_err(fault)?;
        for (offset, width) in &found.references {
            match places.get(offset) {
                Some(listed) if listed == width => {}
                Some(_) => return Err(fault(format!("the index at {offset} has {width} bytes"))),
                None => {
                    return Err(fault(format!(
                        "the constant-pool index at offset {offset} of method block {number} is not listed"
                    )));
                }
            }
        }
        let Some((extra, width)) = places.iter().find(|(offset, _)| !found.references.contains_key(offset))
        else {
            continue;
        };
        if found.is_complete && !is_zero_index(&block.bytes, *extra, *width) {
            let reason = format!(
                "offset {extra} of method block {number} is listed, and holds no constant-pool index"
            );
            return Err(fault(reason));
        }
        let beyond = places.keys().filter(|offset| !found.references.contains_key(offset)).count();
        let reason =
            format!("{beyond} listed offsets of method block {number} lie in code that was not read");
        remarks.push(Remark(fault(reason)));
    }
    Ok(())
}

/// The class of a test for a primitive array is written as 0, and some converters list it.
fn is_zero_index(bytes: &[u8], offset: usize, width: usize) -> bool {
    bytes.get(offset..offset + width).is_some_and(|index| index.iter().all(|byte| *byte == 0))
}

/// Each place with its width, within the block and listed once.
fn places(listed: &BlockReferences, length: usize) -> Result<BTreeMap<usize, usize>, String> {
    let one = listed.one_byte.iter().map(|offset| (*offset, 1));
    let two = listed.two_byte.iter().map(|offset| (*offset, 2));
    let mut places = BTreeMap::new();
    for (offset, width) in one.chain(two) {
        if offset + width > length {
            return Err(format!("offset {offset} lies past the end of the code, which has {length} bytes"));
        }
        if places.insert(offset, width).is_some() {
            return Err(format!("offset {offset} is listed twice"));
        }
    }
    Ok(places)
}

fn fault(reason: String) -> Fault {
    Fault::new(ComponentTag::ReferenceLocation, 0, reason)
}
