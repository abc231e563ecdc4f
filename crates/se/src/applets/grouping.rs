//! Data groupings (DGI) in STORE DATA, as an application receives them (GPC 2.3.1, 11.11.3.3:
//! two bytes of identifier, a length of one byte or of FF and two bytes, the value).
//!
//! A grouping may be longer than a block: what is unfinished waits in volatile memory for the
//! next block. Block 0 begins afresh.

use tsm_iso7816::{ResponseApdu, StatusWord};
use zeroize::Zeroizing;

use crate::applet::{Answer, AppletContext, StoreDataBlock};

/// The longest grouping an applet of ours takes, so that an endless one ends.
const LONGEST: usize = 4096;

/// One data grouping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DataGrouping<'a> {
    /// The identifier.
    pub(super) id: u16,
    /// The value, sensitive parts still encrypted.
    pub(super) value: &'a [u8],
}

/// What waits for the next block.
#[derive(Default)]
struct Unfinished(Zeroizing<Vec<u8>>);

/// Gives every grouping that `block` completes to `store`, in order. The first refusal is
/// answered, and OPEN then forgets what the block's groupings wrote.
pub(super) fn store_each(
    context: &mut AppletContext<'_>,
    block: &StoreDataBlock<'_>,
    mut store: impl FnMut(&mut AppletContext<'_>, DataGrouping<'_>) -> Result<(), StatusWord>,
) -> Answer {
    if !block.is_dgi() {
        return Err(StatusWord::WRONG_DATA);
    }
    let mut bytes = std::mem::take(&mut context.volatile::<Unfinished>().0);
    if block.number == 0 {
        bytes.clear();
    }
    bytes.extend_from_slice(block.data);
    let mut rest = &bytes[..];
    while let Some((grouping, after)) = first(rest) {
        store(context, grouping)?;
        rest = after;
    }
    if rest.len() > LONGEST || (block.is_last() && !rest.is_empty()) {
        return Err(StatusWord::WRONG_DATA);
    }
    context.volatile::<Unfinished>().0 = Zeroizing::new(rest.to_vec());
    Ok(ResponseApdu::success([]))
}

/// The first whole grouping and what follows it.
fn first(bytes: &[u8]) -> Option<(DataGrouping<'_>, &[u8])> {
    let (header, rest) = bytes.split_first_chunk::<3>()?;
    let (length, rest) = match header[2] {
        0xFF => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        short => (usize::from(short), rest),
    };
    let (value, rest) = rest.split_at_checked(length)?;
    Some((DataGrouping { id: u16::from_be_bytes([header[0], header[1]]), value }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_short_and_long_groupings() {
        let mut bytes = vec![0xB0, 0x01, 0x02, 0xAA, 0xBB, 0xB0, 0xA0, 0xFF, 0x01, 0x00];
        bytes.extend([7; 256]);
        bytes.extend([0x01, 0x00, 0x05, 0x11]);
        let (one, rest) = first(&bytes).unwrap();
        assert_eq!(one, DataGrouping { id: 0xB001, value: &[0xAA, 0xBB] });
        let (two, rest) = first(rest).unwrap();
        assert_eq!((two.id, two.value.len()), (0xB0A0, 256));
        assert_eq!(first(rest), None, "the third is unfinished");
    }

    #[test]
    fn any_bytes_split_without_a_panic() {
        bolero::check!().for_each(|bytes: &[u8]| {
            let mut rest = bytes;
            while let Some((_, after)) = first(rest) {
                assert!(after.len() < rest.len());
                rest = after;
            }
        });
    }
}
