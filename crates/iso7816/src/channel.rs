//! Logical channels 0 to 19 in the class byte (ISO/IEC 7816-4, 5.4.1; GPC 2.3.1, 11.1.4).

/// A logical channel number, 0 to 19. Channel 0 is the basic channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct LogicalChannel(u8);

/// A channel number or class byte outside the standard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChannelError {
    /// Channels are 0 to 19.
    #[error("logical channels are 0 to 19, not {0}")]
    Number(u8),
    /// CLA FF is invalid, and 20 to 3F are reserved.
    #[error("class byte {0:02X} is reserved")]
    Class(u8),
}

/// What a class byte says: which channel, whether secured, and whether the class is the
/// interindustry one (bit 8 clear) or the proprietary one of GlobalPlatform (bit 8 set).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Class {
    /// The channel addressed.
    pub channel: LogicalChannel,
    /// Bit 8: a GlobalPlatform or application command rather than an interindustry one.
    pub proprietary: bool,
    /// Secure messaging is indicated (04 or 0C bits for channels 0-3, bit 20 for 4-19).
    pub secured: bool,
    /// Command chaining (bit 10).
    pub chaining: bool,
}

impl LogicalChannel {
    /// The basic logical channel.
    pub const BASIC: Self = Self(0);
    /// How many channels there are.
    pub const COUNT: usize = 20;

    /// Channel `number`, 0 to 19.
    pub fn new(number: u8) -> Result<Self, ChannelError> {
        if number < 20 { Ok(Self(number)) } else { Err(ChannelError::Number(number)) }
    }

    /// The number, 0 to 19.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// The number as an index.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// `cla` with its channel bits set for this channel; secured and proprietary bits are kept.
    ///
    /// A class that is secured in the first form (04) is secured in the further form (20), and
    /// the other way about.
    pub fn apply(self, cla: u8) -> Result<u8, ChannelError> {
        let class = Class::parse(cla)?;
        Ok(Class { channel: self, ..class }.to_byte())
    }
}

impl Class {
    /// Reads a class byte of either form.
    pub fn parse(cla: u8) -> Result<Self, ChannelError> {
        let proprietary = cla & 0x80 != 0;
        let chaining = cla & 0x10 != 0;
        match cla & 0x60 {
            // First interindustry values: 000c smll.
            0x00 => Ok(Self {
                channel: LogicalChannel(cla & 0x03),
                proprietary,
                secured: cla & 0x0C != 0,
                chaining,
            }),
            // Further interindustry values: 01sc llll, channel = 4 + llll.
            0x40 | 0x60 if cla != 0xFF => Ok(Self {
                channel: LogicalChannel(4 + (cla & 0x0F)),
                proprietary,
                secured: cla & 0x20 != 0,
                chaining,
            }),
            _ => Err(ChannelError::Class(cla)),
        }
    }

    /// Writes the class byte; secure messaging of channels 0 to 3 is written as 04.
    pub fn to_byte(self) -> u8 {
        let base = if self.proprietary { 0x80 } else { 0 } | if self.chaining { 0x10 } else { 0 };
        match self.channel.0 {
            number @ 0..=3 => base | if self.secured { 0x04 } else { 0 } | number,
            number => base | 0x40 | if self.secured { 0x20 } else { 0 } | (number - 4),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_channel_in_every_form_reads_back() {
        for number in 0..20 {
            for (proprietary, secured, chaining) in (0..8).map(|b| (b & 1 > 0, b & 2 > 0, b & 4 > 0)) {
                let channel = LogicalChannel::new(number).unwrap();
                let class = Class { channel, proprietary, secured, chaining };
                let byte = class.to_byte();
                if byte == 0xFF {
                    // 1111 1111 is invalid by definition, so channel 19 cannot chain secured.
                    continue;
                }
                assert_eq!(Class::parse(byte), Ok(class), "{byte:02X}");
            }
        }
        assert_eq!(LogicalChannel::new(20), Err(ChannelError::Number(20)));
    }

    #[test]
    fn the_classes_of_globalplatform() {
        let at = |number, cla| LogicalChannel::new(number).unwrap().apply(cla).unwrap();
        assert_eq!(at(0, 0x84), 0x84);
        assert_eq!(at(3, 0x84), 0x87);
        assert_eq!(at(4, 0x84), 0xE0);
        assert_eq!(at(19, 0x80), 0xCF);
        assert_eq!(at(19, 0x04), 0x6F);
        assert_eq!(at(1, 0xE5), 0x85);
    }

    #[test]
    fn reserved_classes_are_refused() {
        for cla in (0x20..=0x3F).chain(0xA0..=0xBF).chain([0xFF]) {
            assert_eq!(Class::parse(cla), Err(ChannelError::Class(cla)), "{cla:02X}");
        }
    }
}
