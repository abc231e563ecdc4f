//! EF1A: variable-length transit records, eighteen of them, one per industry (D-32).
//!
//! A record begins with its id 27nn, nn the record's number, and the count of the bytes that follow
//! its first three; rail and bus records have the layouts below, the others are opaque after their head.

use super::Industry;
use crate::{
    Amount, DateTime, LayoutError,
    bytes::{Fields, crc32},
};

/// The id of a record, 27nn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordId(u8);

impl RecordId {
    /// Metro, 2701.
    pub const RAIL: Self = Self(0x01);
    /// Bus, 2702.
    pub const BUS: Self = Self(0x02);
    /// Discounts, 270D.
    pub const DISCOUNT: Self = Self(0x0D);

    /// The id of record `number`, 1 to 18.
    pub const fn new(number: u8) -> Option<Self> {
        if number >= 1 && number <= 18 { Some(Self(number)) } else { None }
    }

    /// The record's number, which is also the id's low byte and P1 of UPDATE CAPP DATA CACHE.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// The id's two bytes.
    pub const fn to_bytes(self) -> [u8; 2] {
        [0x27, self.0]
    }

    /// The industry that the record belongs to.
    pub fn industry(self) -> Industry {
        Industry::from(self.0)
    }

    /// How many bytes the record has: 112 for parking, 30 for discounts, otherwise 128.
    pub const fn length(self) -> usize {
        match self.0 {
            7 => 112,
            13 => 30,
            _ => 128,
        }
    }
}

/// Bytes 0 to 14, which all records begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RecordHead {
    /// Bytes 0-1: which record it is.
    pub id: RecordId,
    /// Byte 3: 01 when the record holds something.
    pub valid: u8,
    /// Byte 4: 01 for fares by time, distance or composite, 02 for pre-authorisation.
    pub interoperability: u8,
    /// Byte 5: 01 when the record is locked.
    pub locked: u8,
    /// Bytes 6-13: the transaction's serial number in packed decimal.
    pub serial: [u8; 8],
    /// Byte 14: where the trip stands.
    pub state: u8,
}

impl RecordHead {
    /// State of a record never used.
    pub const INITIAL: u8 = 0x00;
    /// State inside the paid area, or on board.
    pub const INSIDE: u8 = 0x01;
    /// State after the exit.
    pub const OUTSIDE: u8 = 0x02;

    const LENGTH: usize = 15;

    /// The head of a record that holds nothing.
    pub const fn empty(id: RecordId) -> Self {
        Self { id, valid: 0, interoperability: 0, locked: 0, serial: [0; 8], state: Self::INITIAL }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.id.to_bytes());
        // The length counts what follows it: 7D in a record of 128 bytes.
        out.push((self.id.length() - 3) as u8);
        out.extend([self.valid, self.interoperability, self.locked]);
        out.extend(self.serial);
        out.push(self.state);
    }

    pub(super) fn decode(fields: &mut Fields<'_>, length: usize) -> Result<Self, LayoutError> {
        let id = fields.u16()?;
        let bad_id = LayoutError::Value { what: "a transit record's id", value: u32::from(id) };
        let [0x27, number] = id.to_be_bytes() else {
            return Err(bad_id);
        };
        let id = RecordId::new(number).ok_or(bad_id)?;
        if id.length() != length {
            return Err(LayoutError::Length {
                what: "a transit record",
                expected: id.length(),
                found: length,
            });
        }
        let stated = fields.byte()?;
        if usize::from(stated) + 3 != length {
            return Err(LayoutError::Value {
                what: "a transit record's length byte",
                value: u32::from(stated),
            });
        }
        Ok(Self {
            id,
            valid: fields.byte()?,
            interoperability: fields.byte()?,
            locked: fields.byte()?,
            serial: fields.array()?,
            state: fields.byte()?,
        })
    }
}

/// A record of any industry: its head, and the rest as bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TransitRecord {
    head: RecordHead,
    body: Vec<u8>,
}

impl TransitRecord {
    /// A record as it stands on a new card.
    pub fn empty(id: RecordId) -> Self {
        Self { head: RecordHead::empty(id), body: vec![0; id.length() - RecordHead::LENGTH] }
    }

    /// The head.
    pub const fn head(&self) -> &RecordHead {
        &self.head
    }

    /// What follows the head.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The record's content.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.head.id.length());
        self.head.encode(&mut out);
        out.extend(&self.body);
        out
    }

    /// Reads a record.
    pub fn decode(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut fields = Fields::new("a transit record", bytes);
        let head = RecordHead::decode(&mut fields, bytes.len())?;
        Ok(Self { head, body: fields.rest().to_vec() })
    }
}

/// Whether a record ends with a CRC-32 over its bytes 6 to 123.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CrcTail {
    /// The last bytes are data like the others.
    None,
    /// Bytes 124-127 are the CRC-32, big endian, as Shanghai's gates write it.
    Crc32,
}

/// Bytes 85 to 127 of a rail record.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RailTail {
    /// Reserved.
    Reserved([u8; 43]),
    /// As Shanghai's gates use it, with a CRC-32.
    Shanghai(ShanghaiTail),
}

/// Shanghai's use of bytes 85 to 123; the CRC-32 behind them is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ShanghaiTail {
    /// Byte 85: line of the entry.
    pub entry_line: u8,
    /// Byte 86: line of the exit.
    pub exit_line: u8,
    /// Bytes 87-90: amount at the entry.
    pub entry_amount: Amount,
    /// Bytes 91-94: balance at the entry.
    pub entry_balance: Amount,
    /// Bytes 95-98: amount paid.
    pub paid: Amount,
    /// Bytes 99-105: when the record was last written.
    pub last_at: DateTime,
    /// Bytes 106-109: the terminal that wrote it last.
    pub last_terminal: [u8; 4],
    /// Bytes 110-112: what was spent in the month.
    pub month_total: [u8; 3],
    /// Bytes 113-114: how often.
    pub count: u16,
    /// Bytes 115-119: the transfer: industry and MMDDhhmm.
    pub transfer: [u8; 5],
    /// Byte 120: entry flag.
    pub entry_flag: u8,
    /// Byte 121: exit flag.
    pub exit_flag: u8,
    /// Byte 122: 55 in, 66 out.
    pub direction: u8,
    /// Byte 123.
    pub reserved: u8,
}

impl ShanghaiTail {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend([self.entry_line, self.exit_line]);
        out.extend(self.entry_amount.to_bytes());
        out.extend(self.entry_balance.to_bytes());
        out.extend(self.paid.to_bytes());
        out.extend(self.last_at.to_bytes());
        out.extend(self.last_terminal);
        out.extend(self.month_total);
        out.extend(self.count.to_be_bytes());
        out.extend(self.transfer);
        out.extend([self.entry_flag, self.exit_flag, self.direction, self.reserved]);
    }

    fn decode(fields: &mut Fields<'_>) -> Result<Self, LayoutError> {
        Ok(Self {
            entry_line: fields.byte()?,
            exit_line: fields.byte()?,
            entry_amount: Amount::from_bytes(fields.array()?),
            entry_balance: Amount::from_bytes(fields.array()?),
            paid: Amount::from_bytes(fields.array()?),
            last_at: DateTime::from_bytes(fields.array()?),
            last_terminal: fields.array()?,
            month_total: fields.array()?,
            count: fields.u16()?,
            transfer: fields.array()?,
            entry_flag: fields.byte()?,
            exit_flag: fields.byte()?,
            direction: fields.byte()?,
            reserved: fields.byte()?,
        })
    }
}

/// The metro's record, 2701.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RailRecord {
    /// Bytes 0-14.
    pub head: RecordHead,
    /// Bytes 15-16: city of the entry.
    pub entry_city: [u8; 2],
    /// Bytes 17-18: city of the exit.
    pub exit_city: [u8; 2],
    /// Bytes 19-26: operator of the entry.
    pub entry_operator: [u8; 8],
    /// Bytes 27-34: operator of the exit.
    pub exit_operator: [u8; 8],
    /// Bytes 35-42: station of the entry.
    pub entry_station: [u8; 8],
    /// Bytes 43-50: station of the exit.
    pub exit_station: [u8; 8],
    /// Bytes 51-58: gate of the entry.
    pub entry_terminal: [u8; 8],
    /// Bytes 59-66: gate of the exit.
    pub exit_terminal: [u8; 8],
    /// Bytes 67-73: when entered.
    pub entry_at: DateTime,
    /// Bytes 74-80: when left.
    pub exit_at: DateTime,
    /// Bytes 81-84: the most that the trip can cost.
    pub maximum_fare: Amount,
    /// Bytes 85-127.
    pub tail: RailTail,
}

impl RailRecord {
    /// The record's length.
    pub const LENGTH: usize = 128;

    /// A record as it stands on a new card.
    pub const fn empty() -> Self {
        let never = DateTime::from_bytes([0; 7]);
        Self {
            head: RecordHead::empty(RecordId::RAIL),
            entry_city: [0; 2],
            exit_city: [0; 2],
            entry_operator: [0; 8],
            exit_operator: [0; 8],
            entry_station: [0; 8],
            exit_station: [0; 8],
            entry_terminal: [0; 8],
            exit_terminal: [0; 8],
            entry_at: never,
            exit_at: never,
            maximum_fare: Amount::ZERO,
            tail: RailTail::Reserved([0; 43]),
        }
    }

    /// The record's content.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(Self::LENGTH);
        self.head.encode(&mut out);
        for pair in [self.entry_city, self.exit_city] {
            out.extend(pair);
        }
        for field in [
            self.entry_operator,
            self.exit_operator,
            self.entry_station,
            self.exit_station,
            self.entry_terminal,
            self.exit_terminal,
        ] {
            out.extend(field);
        }
        out.extend(self.entry_at.to_bytes());
        out.extend(self.exit_at.to_bytes());
        out.extend(self.maximum_fare.to_bytes());
        match &self.tail {
            RailTail::Reserved(bytes) => out.extend(bytes),
            RailTail::Shanghai(tail) => {
                tail.encode(&mut out);
                let crc = crc32(&out[6..]);
                out.extend(crc.to_be_bytes());
            }
        }
        out
    }

    /// Reads a record; `tail` says what its last bytes are.
    pub fn decode(bytes: &[u8], tail: CrcTail) -> Result<Self, LayoutError> {
        let mut fields = Fields::exact("a rail record", bytes, Self::LENGTH)?;
        Ok(Self {
            head: RecordHead::decode(&mut fields, bytes.len())?,
            entry_city: fields.array()?,
            exit_city: fields.array()?,
            entry_operator: fields.array()?,
            exit_operator: fields.array()?,
            entry_station: fields.array()?,
            exit_station: fields.array()?,
            entry_terminal: fields.array()?,
            exit_terminal: fields.array()?,
            entry_at: DateTime::from_bytes(fields.array()?),
            exit_at: DateTime::from_bytes(fields.array()?),
            maximum_fare: Amount::from_bytes(fields.array()?),
            tail: match tail {
                CrcTail::None => RailTail::Reserved(fields.array()?),
                CrcTail::Crc32 => {
                    check_crc(bytes)?;
                    RailTail::Shanghai(ShanghaiTail::decode(&mut fields)?)
                }
            },
        })
    }
}

fn check_crc(record: &[u8]) -> Result<(), LayoutError> {
    if record.get(124..128) == Some(&crc32(&record[6..124]).to_be_bytes()[..]) {
        return Ok(());
    }
    Err(LayoutError::Checksum { what: "a rail record" })
}

/// Where a passenger got on or off a bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct BusStop {
    /// The city.
    pub city: [u8; 2],
    /// The organisation.
    pub organisation: [u8; 8],
    /// The operator.
    pub operator: [u8; 2],
    /// The line.
    pub line: [u8; 2],
    /// The stop.
    pub stop: u8,
    /// The vehicle, ASCII.
    pub vehicle: [u8; 8],
    /// The terminal on board.
    pub terminal: [u8; 8],
    /// When.
    pub at: DateTime,
}

impl BusStop {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.city);
        out.extend(self.organisation);
        out.extend(self.operator);
        out.extend(self.line);
        out.push(self.stop);
        out.extend(self.vehicle);
        out.extend(self.terminal);
        out.extend(self.at.to_bytes());
    }

    fn decode(fields: &mut Fields<'_>) -> Result<Self, LayoutError> {
        Ok(Self {
            city: fields.array()?,
            organisation: fields.array()?,
            operator: fields.array()?,
            line: fields.array()?,
            stop: fields.byte()?,
            vehicle: fields.array()?,
            terminal: fields.array()?,
            at: DateTime::from_bytes(fields.array()?),
        })
    }
}

/// The bus's record, 2702.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BusRecord {
    /// Bytes 0-14.
    pub head: RecordHead,
    /// Bytes 15-52: boarding.
    pub boarding: BusStop,
    /// Bytes 53-56: the amount marked at boarding, collected when the passenger does not alight properly.
    pub marked_amount: Amount,
    /// Byte 57: direction, AB or BA.
    pub direction: u8,
    /// Bytes 58-95: alighting.
    pub alighting: BusStop,
    /// Bytes 96-99: the amount paid.
    pub amount: Amount,
    /// Bytes 100-101: the distance.
    pub distance: u16,
    /// Bytes 102-127: reserved.
    pub reserved: [u8; 26],
}

impl BusRecord {
    /// The record's length.
    pub const LENGTH: usize = 128;

    /// A record as it stands on a new card.
    pub fn empty() -> Self {
        Self {
            head: RecordHead::empty(RecordId::BUS),
            boarding: BusStop::default(),
            marked_amount: Amount::ZERO,
            direction: 0,
            alighting: BusStop::default(),
            amount: Amount::ZERO,
            distance: 0,
            reserved: [0; 26],
        }
    }

    /// The record's content.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(Self::LENGTH);
        self.head.encode(&mut out);
        self.boarding.encode(&mut out);
        out.extend(self.marked_amount.to_bytes());
        out.push(self.direction);
        self.alighting.encode(&mut out);
        out.extend(self.amount.to_bytes());
        out.extend(self.distance.to_be_bytes());
        out.extend(self.reserved);
        out
    }

    /// Reads a record.
    pub fn decode(bytes: &[u8]) -> Result<Self, LayoutError> {
        let mut fields = Fields::exact("a bus record", bytes, Self::LENGTH)?;
        Ok(Self {
            head: RecordHead::decode(&mut fields, bytes.len())?,
            boarding: BusStop::decode(&mut fields)?,
            marked_amount: Amount::from_bytes(fields.array()?),
            direction: fields.byte()?,
            alighting: BusStop::decode(&mut fields)?,
            amount: Amount::from_bytes(fields.array()?),
            distance: fields.u16()?,
            reserved: fields.array()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_new_record_has_its_id_and_length() {
        let bytes = TransitRecord::empty(RecordId::RAIL).encode();
        assert_eq!(bytes.len(), 128);
        assert_eq!(bytes[..3], [0x27, 0x01, 0x7D]);
        assert_eq!(RailRecord::empty().encode(), bytes);
        assert_eq!(BusRecord::empty().encode()[..3], [0x27, 0x02, 0x7D]);
        assert_eq!(TransitRecord::empty(RecordId::new(7).unwrap()).encode().len(), 112);
        assert_eq!(TransitRecord::empty(RecordId::new(13).unwrap()).encode()[..3], [0x27, 0x0D, 0x1B]);
    }

    /// The offsets that published terminal code uses.
    #[test]
    fn fields_stand_where_terminals_look_for_them() {
        let rail = RailRecord {
            entry_station: [0xAA; 8],
            entry_at: DateTime::from_bytes([0xBB; 7]),
            maximum_fare: Amount::from_fen(0x1234_5678),
            ..RailRecord::empty()
        };
        let bytes = rail.encode();
        assert_eq!(bytes[35..43], [0xAA; 8]);
        assert_eq!(bytes[67..74], [0xBB; 7]);
        assert_eq!(bytes[81..85], [0x12, 0x34, 0x56, 0x78]);
        let bus = BusRecord {
            boarding: BusStop { stop: 0xCC, ..BusStop::default() },
            alighting: BusStop { at: DateTime::from_bytes([0xDD; 7]), ..BusStop::default() },
            distance: 0x0102,
            ..BusRecord::empty()
        };
        let bytes = bus.encode();
        assert_eq!(bytes[29], 0xCC);
        assert_eq!(bytes[89..96], [0xDD; 7]);
        assert_eq!(bytes[100..102], [1, 2]);
    }

    #[test]
    fn a_contradictory_head_is_refused() {
        let mut bytes = RailRecord::empty().encode();
        bytes[2] = 0x7C;
        assert!(matches!(TransitRecord::decode(&bytes), Err(LayoutError::Value { .. })));
        bytes[2] = 0x7D;
        bytes[1] = 0x07;
        assert!(matches!(TransitRecord::decode(&bytes), Err(LayoutError::Length { .. })));
        bytes[1] = 0x13;
        assert!(matches!(TransitRecord::decode(&bytes), Err(LayoutError::Value { .. })));
    }

    #[test]
    fn a_changed_byte_breaks_the_checksum() {
        let tail = ShanghaiTail { paid: Amount::from_fen(400), ..ShanghaiTail::default() };
        let record = RailRecord { tail: RailTail::Shanghai(tail), ..RailRecord::empty() };
        let mut bytes = record.encode();
        assert_eq!(RailRecord::decode(&bytes, CrcTail::Crc32), Ok(record));
        bytes[98] ^= 1;
        assert!(matches!(RailRecord::decode(&bytes, CrcTail::Crc32), Err(LayoutError::Checksum { .. })));
    }

    proptest! {
        #[test]
        fn records_are_lossless(number in 1u8..=18, filling in prop::collection::vec(any::<u8>(), 125)) {
            let id = RecordId::new(number).unwrap();
            let mut bytes = id.to_bytes().to_vec();
            bytes.push((id.length() - 3) as u8);
            bytes.extend(&filling[..id.length() - 3]);
            prop_assert_eq!(TransitRecord::decode(&bytes).unwrap().encode(), bytes.clone());
            if bytes.len() == 128 {
                prop_assert_eq!(RailRecord::decode(&bytes, CrcTail::None).unwrap().encode(), bytes.clone());
                prop_assert_eq!(BusRecord::decode(&bytes).unwrap().encode(), bytes);
            }
        }
    }
}
