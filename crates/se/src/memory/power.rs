//! The power supply of the memory: counts writes, and can fail at any one of them.
//!
//! A write here is one page. A page that the power fails on is left half written and half
//! garbled, as worn or unfinished cells read.

use super::driver::{Area, Chunk, Driver, DriverError};

/// Bytes written at once.
const PAGE: usize = 64;

/// A driver behind a supply that may fail.
pub(super) struct PowerSupply {
    driver: Box<dyn Driver>,
    state: State,
    writes: u64,
}

enum State {
    On,
    FailsAfter(u64),
    Off,
}

impl PowerSupply {
    pub(super) fn new(driver: Box<dyn Driver>) -> Self {
        Self { driver, state: State::On, writes: 0 }
    }

    pub(super) fn cut_after(&mut self, writes: u64) {
        self.state = State::FailsAfter(writes);
    }

    pub(super) fn cancel_cut(&mut self) {
        if matches!(self.state, State::FailsAfter(_)) {
            self.state = State::On;
        }
    }

    /// Returns power where it is gone; a failure still to come stays.
    pub(super) fn restore(&mut self) {
        if matches!(self.state, State::Off) {
            self.state = State::On;
        }
    }

    pub(super) fn is_on(&self) -> bool {
        !matches!(self.state, State::Off)
    }

    pub(super) fn writes(&self) -> u64 {
        self.writes
    }

    pub(super) fn read_live(&mut self) -> Result<Vec<u8>, DriverError> {
        self.require_power()?;
        self.driver.read_live()
    }

    pub(super) fn append(&mut self, area: Area, chunks: &[Chunk]) -> Result<(), DriverError> {
        self.require_power()?;
        for chunk in chunks {
            self.append_chunk(area, chunk)?;
        }
        Ok(())
    }

    fn append_chunk(&mut self, area: Area, chunk: &Chunk) -> Result<(), DriverError> {
        let pages = chunk.len().div_ceil(PAGE) as u64;
        let State::FailsAfter(left) = self.state else {
            self.writes += pages;
            return self.driver.append(area, chunk);
        };
        if left >= pages {
            self.state = State::FailsAfter(left - pages);
            self.writes += pages;
            return self.driver.append(area, chunk);
        }
        let bytes = chunk.as_bytes();
        let start = left as usize * PAGE;
        let end = bytes.len().min(start + PAGE);
        let middle = start + (end - start) / 2;
        let mut torn = bytes[..middle].to_vec();
        torn.extend(bytes[middle..end].iter().map(|byte| byte | 0xA5));
        self.writes += left + 1;
        self.state = State::Off;
        self.driver.append(area, &Chunk::Own(torn))?;
        Err(DriverError::PowerLost)
    }

    pub(super) fn sync(&mut self) -> Result<(), DriverError> {
        self.require_power()?;
        self.driver.sync()
    }

    pub(super) fn erase_spare(&mut self) -> Result<(), DriverError> {
        self.spend_write()?;
        self.driver.erase_spare()
    }

    pub(super) fn switch(&mut self) -> Result<(), DriverError> {
        self.spend_write()?;
        self.driver.switch()
    }

    fn spend_write(&mut self) -> Result<(), DriverError> {
        self.require_power()?;
        match &mut self.state {
            State::FailsAfter(0) => {
                self.state = State::Off;
                return Err(DriverError::PowerLost);
            }
            State::FailsAfter(left) => *left -= 1,
            State::On | State::Off => {}
        }
        self.writes += 1;
        Ok(())
    }

    fn require_power(&self) -> Result<(), DriverError> {
        if self.is_on() { Ok(()) } else { Err(DriverError::PowerLost) }
    }
}
