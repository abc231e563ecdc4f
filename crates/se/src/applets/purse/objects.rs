//! The numbers of a purse's persistent objects.

use tsm_epurse::{Sfi, TransactionType};

use crate::applet::ObjectId;

/// The [`super::ledger::Ledger`].
pub(super) const LEDGER: ObjectId = 0x0001;
/// The PIN with its tries.
pub(super) const PIN: ObjectId = 0x0002;
/// The 3DES key set.
pub(super) const TRIPLE_DES_KEYS: ObjectId = 0x0003;
/// The SM4 key set.
pub(super) const SM4_KEYS: ObjectId = 0x0004;
/// The second load keys, 3DES and SM4.
pub(super) const SECOND_LOAD_KEYS: [ObjectId; 2] = [0x0005, 0x0006];

/// A transparent file.
pub(super) const fn transparent(sfi: Sfi) -> ObjectId {
    0x0100 | sfi.value() as u16
}

/// A slot of the transaction log EF18.
pub(super) const fn log(slot: u8) -> ObjectId {
    0x0200 | slot as u16
}

/// A slot of the transit history EF1E.
pub(super) const fn history(slot: u8) -> ObjectId {
    0x0300 | slot as u16
}

/// A record of the transit records EF1A.
pub(super) const fn transit(record: u8) -> ObjectId {
    0x0400 | record as u16
}

/// What proves the last transaction of a type.
pub(super) fn proof(transaction_type: TransactionType) -> ObjectId {
    0x0500 | ObjectId::from(u8::from(transaction_type))
}
