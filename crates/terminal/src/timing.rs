//! The typical transaction time (DB11/T 159.6, 3.9; B-3.9): from the card being found to its last
//! answer, with the card's computing and everything exchanged, without what the terminal does for itself.
//!
//! [`Meter`] stands between a terminal and a reader and takes down every exchange. The radio time is
//! modelled from ISO/IEC 14443-3 and -4: bits per character, block overhead, chaining beyond the frame
//! size, and the frame delay between the two directions. The card's own time comes from a clock that the caller
//! gives, or from figures published for a real card.

use core::time::Duration;

use tsm_iso7816::{CommandApdu, ResponseApdu};

use crate::reader::{CardReader, ReaderError};

/// What a purchase may take of the card's time (our design figure, D-38).
pub const PURCHASE_TARGET: Duration = Duration::from_millis(300);
/// What a load may take of the card's time (our design figure, D-38).
pub const LOAD_TARGET: Duration = Duration::from_secs(1);

/// One command and its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exchange {
    /// The instruction byte.
    pub ins: u8,
    /// Bytes of the command.
    pub sent: usize,
    /// Bytes of the answer, status word included.
    pub received: usize,
    /// How long the card took, by the caller's clock.
    pub card_time: Duration,
}

/// The signal interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SignalInterface {
    /// Type A: nine bits for a byte.
    A,
    /// Type B: ten bits for a byte, and start and end of frame.
    B,
}

/// The bit rate in both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BitRate {
    /// 106 kbit/s: 128 periods of the carrier for a bit.
    Kbit106,
    /// 424 kbit/s: 32 periods.
    Kbit424,
}

/// The carrier, 13.56 MHz.
const CARRIER_HZ: u64 = 13_560_000;
/// ISO/IEC 14443-3, 6.2.1.1: the least delay of an answer, 1172 periods.
const FRAME_DELAY: u64 = 1_172;
/// What one frame carries: the common frame size of 256 bytes less block overhead.
const FRAME_DATA: usize = 253;
/// Protocol control byte and checksum of a block.
const BLOCK_OVERHEAD: usize = 3;

impl BitRate {
    const fn carrier_periods(self) -> u64 {
        match self {
            Self::Kbit106 => 128,
            Self::Kbit424 => 32,
        }
    }
}

/// Carrier periods of the blocks that carry `length` bytes in one direction, acknowledgements included.
fn periods(length: usize, interface: SignalInterface, rate: BitRate) -> u64 {
    let frame = |bytes: usize| {
        let bytes = bytes as u64;
        let bits = match interface {
            // Start and end bit.
            SignalInterface::A => 9 * bytes + 2,
            // Start of frame (12) and end of frame (11).
            SignalInterface::B => 10 * bytes + 23,
        };
        bits * rate.carrier_periods() + FRAME_DELAY
    };
    let chained = length.div_ceil(FRAME_DATA).max(1) - 1;
    let last = length - chained * FRAME_DATA;
    (chained as u64) * (frame(FRAME_DATA + BLOCK_OVERHEAD) + frame(BLOCK_OVERHEAD))
        + frame(last + BLOCK_OVERHEAD)
}

/// What a transaction exchanged.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tally {
    /// The exchanges in order.
    pub exchanges: Vec<Exchange>,
}

impl Tally {
    /// How many commands.
    pub fn commands(&self) -> usize {
        self.exchanges.len()
    }

    /// How many bytes, both ways.
    pub fn bytes(&self) -> usize {
        self.exchanges.iter().map(|exchange| exchange.sent + exchange.received).sum()
    }

    /// The card's time by the caller's clock.
    pub fn card_time(&self) -> Duration {
        self.exchanges.iter().map(|exchange| exchange.card_time).sum()
    }

    /// The time on the air.
    pub fn air_time(&self, interface: SignalInterface, rate: BitRate) -> Duration {
        let total: u64 = self
            .exchanges
            .iter()
            .map(|exchange| {
                periods(exchange.sent, interface, rate) + periods(exchange.received, interface, rate)
            })
            .sum();
        Duration::from_nanos(total * 1_000_000_000 / CARRIER_HZ)
    }

    /// The card's time as a real card would need it.
    ///
    /// Source: the log of a city's bus terminal with a T-Union card (January 2019) and the log of a contact
    /// card of another city, both public: SELECT 15-31 ms, reads 10-13, INITIALIZE 5-31, cache 16-32, debit 68-78.
    pub fn published_card_time(&self) -> Duration {
        let milliseconds = self.exchanges.iter().map(|exchange| match exchange.ins {
            0xA4 => 23,
            0xB0 | 0xB2 => 11,
            0x5C | 0x84 => 10,
            0x50 => 18,
            0xDC => 24,
            0x54 | 0x52 => 73,
            _ => 10,
        });
        Duration::from_millis(milliseconds.sum())
    }

    /// The typical transaction time: time on the air and the card's own time.
    pub fn transaction_time(&self, interface: SignalInterface, rate: BitRate, card: Duration) -> Duration {
        self.air_time(interface, rate) + card
    }
}

/// A reader that takes down every exchange.
#[derive(Debug)]
pub struct Meter<R, C> {
    reader: R,
    clock: C,
    tally: Tally,
}

impl<R: CardReader, C: FnMut() -> Duration> Meter<R, C> {
    /// Measures what goes through `reader`, with the time that `clock` tells since whatever beginning.
    pub fn new(reader: R, clock: C) -> Self {
        Self { reader, clock, tally: Tally::default() }
    }

    /// What went through since the beginning or the last call.
    pub fn take(&mut self) -> Tally {
        core::mem::take(&mut self.tally)
    }
}

impl<R: CardReader, C: FnMut() -> Duration> CardReader for Meter<R, C> {
    fn transmit(&mut self, command: &CommandApdu) -> Result<ResponseApdu, ReaderError> {
        let before = (self.clock)();
        let answer = self.reader.transmit(command)?;
        let card_time = (self.clock)().saturating_sub(before);
        let sent = command.to_bytes().map_or(0, |bytes| bytes.len());
        self.tally.exchanges.push(Exchange {
            ins: command.ins,
            sent,
            received: answer.data.len() + 2,
            card_time,
        });
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchanged(sent: usize, received: usize) -> Tally {
        Tally { exchanges: vec![Exchange { ins: 0x5C, sent, received, card_time: Duration::ZERO }] }
    }

    /// By hand: 5 + 3 bytes of type A are 74 bits, 6 + 3 are 83; 157 bits of 128 periods and two frame delays
    /// are 22,440 periods.
    #[test]
    fn air_time_by_hand() {
        let time = exchanged(5, 6).air_time(SignalInterface::A, BitRate::Kbit106);
        assert_eq!(time, Duration::from_nanos(22_440 * 1_000_000_000 / 13_560_000));
        let faster = exchanged(5, 6).air_time(SignalInterface::A, BitRate::Kbit424);
        assert_eq!(faster, Duration::from_nanos((157 * 32 + 2 * 1_172) * 1_000_000_000 / 13_560_000));
        assert!(exchanged(5, 6).air_time(SignalInterface::B, BitRate::Kbit106) > time);
    }

    #[test]
    fn long_blocks_are_chained() {
        let whole = periods(FRAME_DATA, SignalInterface::A, BitRate::Kbit106);
        let longer = periods(FRAME_DATA + 1, SignalInterface::A, BitRate::Kbit106);
        // One more data byte costs its block, an acknowledgement, and their two frame delays.
        assert_eq!(longer - whole, (4 * 9 + 2 + 3 * 9 + 2) * 128 + 2 * FRAME_DELAY);
    }
}
