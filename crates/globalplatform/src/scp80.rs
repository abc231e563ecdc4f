//! Secure Channel Protocol 80: secured packets over the air (ETSI TS 102 225; 3GPP TS 31.115 for
//! short messages), with triple DES (two keys) and AES-128.
//!
//! Redundancy checks (CRC), digital signatures and single DES are refused.

use crate::primitives::{AES_BLOCK, Aes, AesCmac, AesKey, DES_BLOCK, DesKey, TripleDes, equal};

/// KIc and KID: a key with its algorithm.
#[derive(Debug, Clone)]
pub enum Key {
    /// Triple DES in CBC mode with two keys (algorithm nibble 5).
    TripleDes(DesKey),
    /// AES (algorithm nibble 2): CBC for ciphering, CMAC for integrity.
    Aes(AesKey),
}

/// The keys of one key version.
#[derive(Debug, Clone)]
pub struct Keys {
    /// KIc: ciphering.
    pub ciphering: Key,
    /// KID: integrity.
    pub integrity: Key,
}

/// What the counter is for (SPI byte 1, bits 5 and 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CounterCheck {
    /// No counter.
    #[default]
    None,
    /// There is one, which nobody checks.
    Unchecked,
    /// The packet is processed if the counter is higher than the one before.
    Higher,
    /// The packet is processed if the counter is one higher than the one before.
    OneHigher,
}

/// Whether a packet carries a cryptographic checksum (bits 2 and 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Integrity {
    /// None.
    #[default]
    None,
    /// Eight bytes of MAC.
    CryptographicChecksum,
}

/// Whether a packet is ciphered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Ciphering {
    /// It is not.
    #[default]
    None,
    /// From the counter on, under KIc.
    Ciphered,
}

/// Whether the card answers (SPI byte 2, bits 2 and 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ProofOfReceipt {
    /// Never.
    #[default]
    None,
    /// Always.
    Required,
    /// When an error occurred.
    OnError,
}

/// The security parameter indicator (TS 102 225, 5.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SecurityParameters {
    /// What the counter is for.
    pub counter: CounterCheck,
    /// Ciphering of the command.
    pub ciphering: Ciphering,
    /// Integrity of the command.
    pub integrity: Integrity,
    /// Whether the card answers.
    pub response: ProofOfReceipt,
    /// Ciphering of the answer.
    pub response_ciphering: Ciphering,
    /// Integrity of the answer.
    pub response_integrity: Integrity,
    /// Whether the answer travels by SMS-SUBMIT rather than in the delivery report.
    pub response_by_submit: SubmitResponse,
}

/// How an answer travels over short messages (SPI byte 2, bit 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum SubmitResponse {
    /// In the SMS-DELIVER-REPORT.
    #[default]
    DeliverReport,
    /// In an SMS-SUBMIT.
    Submit,
}

/// A command packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandPacket {
    /// The security parameters.
    pub parameters: SecurityParameters,
    /// The index (key version) of KIc, 0 to 15.
    pub ciphering_index: u8,
    /// The index (key version) of KID, 0 to 15.
    pub integrity_index: u8,
    /// The toolkit application reference.
    pub application: [u8; 3],
    /// The counter, 40 bits.
    pub counter: u64,
    /// The commands.
    pub data: Vec<u8>,
}

/// A response packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponsePacket {
    /// The toolkit application reference.
    pub application: [u8; 3],
    /// The counter, 40 bits.
    pub counter: u64,
    /// The status: 00 is success (TS 102 225, table 5).
    pub status: u8,
    /// The answer.
    pub data: Vec<u8>,
}

/// Why a packet cannot be written or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// The packet is cut short, or its lengths disagree.
    #[error("the packet is cut short or its lengths disagree")]
    Length,
    /// The security parameters ask for something that is refused.
    #[error("the security parameters {0:02X}{1:02X} are not supported")]
    Parameters(u8, u8),
    /// The packet names another algorithm than its key has.
    #[error("the packet names an algorithm that its key does not have")]
    Algorithm,
    /// The checksum is wrong, or the deciphered packet is not whole.
    #[error("the cryptographic checksum is wrong")]
    Checksum,
    /// The data does not fit into a packet.
    #[error("the data does not fit into a packet")]
    TooLong,
}

const CHECKSUM_LENGTH: usize = 8;
/// SPI, KIc, KID and TAR, behind the header length.
const HEADER: usize = 7;
/// CNTR and PCNTR.
const COUNTERS: usize = 6;
/// The user data header of a response in a short message: one element 71 without data.
const RESPONSE_IDENTIFIER: [u8; 3] = [0x02, 0x71, 0x00];

impl Key {
    const fn algorithm(&self) -> u8 {
        match self {
            Self::TripleDes(_) => 0x05,
            Self::Aes(_) => 0x02,
        }
    }

    const fn block(&self) -> usize {
        match self {
            Self::TripleDes(_) => DES_BLOCK,
            Self::Aes(_) => AES_BLOCK,
        }
    }

    fn encrypt(&self, data: &mut [u8]) {
        match self {
            Self::TripleDes(key) => TripleDes::new(key).encrypt_cbc(&[0; DES_BLOCK], data),
            Self::Aes(key) => Aes::new(key).encrypt_cbc(&[0; AES_BLOCK], data),
        }
    }

    fn decrypt(&self, data: &mut [u8]) {
        match self {
            Self::TripleDes(key) => TripleDes::new(key).decrypt_cbc(&[0; DES_BLOCK], data),
            Self::Aes(key) => Aes::new(key).decrypt_cbc(&[0; AES_BLOCK], data),
        }
    }

    // TS 102 225 5.1.3.1: triple DES in outer CBC mode, the data filled with zeros; AES-CMAC, the
    // leftmost eight bytes.
    fn checksum(&self, parts: &[&[u8]]) -> [u8; CHECKSUM_LENGTH] {
        match self {
            Self::TripleDes(key) => {
                let mut data = parts.concat();
                data.resize(data.len().next_multiple_of(DES_BLOCK), 0);
                TripleDes::new(key).encrypt_cbc(&[0; DES_BLOCK], &mut data);
                data.last_chunk().copied().unwrap_or_default()
            }
            Self::Aes(key) => {
                let [a, b, c, d, e, f, g, h, ..] = AesCmac::new(key).mac(parts);
                [a, b, c, d, e, f, g, h]
            }
        }
    }
}

impl SecurityParameters {
    /// The two bytes of the SPI.
    pub const fn to_bytes(self) -> [u8; 2] {
        let counter = match self.counter {
            CounterCheck::None => 0x00,
            CounterCheck::Unchecked => 0x08,
            CounterCheck::Higher => 0x10,
            CounterCheck::OneHigher => 0x18,
        };
        let response = match self.response {
            ProofOfReceipt::None => 0x00,
            ProofOfReceipt::Required => 0x01,
            ProofOfReceipt::OnError => 0x02,
        };
        let submit = match self.response_by_submit {
            SubmitResponse::DeliverReport => 0x00,
            SubmitResponse::Submit => 0x20,
        };
        let first = counter | self.ciphering.bits(0x04) | self.integrity.bits(0x02);
        let second =
            submit | self.response_ciphering.bits(0x10) | self.response_integrity.bits(0x08) | response;
        [first, second]
    }

    /// Reads the two bytes of the SPI.
    pub const fn parse([first, second]: [u8; 2]) -> Result<Self, PacketError> {
        let refused = Err(PacketError::Parameters(first, second));
        if first & 0xE1 != 0 || second & 0xC4 != 0 || second & 0x03 == 0x03 {
            return refused;
        }
        Ok(Self {
            counter: match first & 0x18 {
                0x00 => CounterCheck::None,
                0x08 => CounterCheck::Unchecked,
                0x10 => CounterCheck::Higher,
                _ => CounterCheck::OneHigher,
            },
            ciphering: Ciphering::from_bit(first & 0x04),
            integrity: Integrity::from_bit(first & 0x02),
            response: match second & 0x03 {
                0x00 => ProofOfReceipt::None,
                0x01 => ProofOfReceipt::Required,
                _ => ProofOfReceipt::OnError,
            },
            response_ciphering: Ciphering::from_bit(second & 0x10),
            response_integrity: Integrity::from_bit(second & 0x08),
            response_by_submit: match second & 0x20 {
                0x00 => SubmitResponse::DeliverReport,
                _ => SubmitResponse::Submit,
            },
        })
    }
}

impl Ciphering {
    const fn bits(self, bit: u8) -> u8 {
        match self {
            Self::None => 0,
            Self::Ciphered => bit,
        }
    }

    const fn from_bit(bit: u8) -> Self {
        if bit == 0 { Self::None } else { Self::Ciphered }
    }
}

impl Integrity {
    const fn bits(self, bit: u8) -> u8 {
        match self {
            Self::None => 0,
            Self::CryptographicChecksum => bit,
        }
    }

    const fn from_bit(bit: u8) -> Self {
        if bit == 0 { Self::None } else { Self::CryptographicChecksum }
    }

    const fn length(self) -> usize {
        match self {
            Self::None => 0,
            Self::CryptographicChecksum => CHECKSUM_LENGTH,
        }
    }
}

impl CommandPacket {
    // TS 102 225 table 1: CPL, CHL, SPI, KIc, KID, TAR, then CNTR, PCNTR, checksum and data.
    /// Writes the packet, with its length (CPL) in front.
    pub fn encode(&self, keys: &Keys) -> Result<Vec<u8>, PacketError> {
        let checksum_length = self.parameters.integrity.length();
        let mut head = vec![(HEADER + COUNTERS + checksum_length) as u8];
        head.extend(self.parameters.to_bytes());
        head.push(self.ciphering_index << 4 | keys.ciphering.algorithm());
        head.push(self.integrity_index << 4 | keys.integrity.algorithm());
        head.extend(self.application);
        let body = Body { counter: self.counter, status: None, data: &self.data };
        let protection =
            Protection { ciphering: self.parameters.ciphering, integrity: self.parameters.integrity, keys };
        protection.encode(&[], &head, &body)
    }

    /// Reads a packet with its length in front, checks it and deciphers it.
    pub fn decode(packet: &[u8], keys: &Keys) -> Result<Self, PacketError> {
        let (length, rest) = packet.split_first_chunk::<2>().ok_or(PacketError::Length)?;
        if usize::from(u16::from_be_bytes(*length)) != rest.len() {
            return Err(PacketError::Length);
        }
        let (head, body) = rest.split_first_chunk::<{ 1 + HEADER }>().ok_or(PacketError::Length)?;
        let [header_length, spi_1, spi_2, kic, kid, tar @ ..] = *head;
        let parameters = SecurityParameters::parse([spi_1, spi_2])?;
        if usize::from(header_length) != HEADER + COUNTERS + parameters.integrity.length() {
            return Err(PacketError::Length);
        }
        if kic & 0x0F != keys.ciphering.algorithm() || kid & 0x0F != keys.integrity.algorithm() {
            return Err(PacketError::Algorithm);
        }
        let protection =
            Protection { ciphering: parameters.ciphering, integrity: parameters.integrity, keys };
        let (counters, data) = protection.decode(&[length, head], body, COUNTERS)?;
        Ok(Self {
            parameters,
            ciphering_index: kic >> 4,
            integrity_index: kid >> 4,
            application: tar,
            counter: counter_of(&counters),
            data,
        })
    }
}

impl ResponsePacket {
    // TS 102 225 table 4 and TS 31.115 4.3: 02 71 00, RPL, RHL, TAR, then CNTR, PCNTR, status,
    // checksum and data. The checksum covers the identifier too.
    /// Writes the packet as the user data of a short message, protected as the command asked.
    pub fn encode(&self, parameters: SecurityParameters, keys: &Keys) -> Result<Vec<u8>, PacketError> {
        let integrity = parameters.response_integrity;
        let mut head = vec![(3 + COUNTERS + 1 + integrity.length()) as u8];
        head.extend(self.application);
        let body = Body { counter: self.counter, status: Some(self.status), data: &self.data };
        let protection = Protection { ciphering: parameters.response_ciphering, integrity, keys };
        let packet = protection.encode(&RESPONSE_IDENTIFIER, &head, &body)?;
        Ok([&RESPONSE_IDENTIFIER[..], &packet].concat())
    }

    /// Reads the user data of a short message, protected as the command asked.
    pub fn decode(packet: &[u8], parameters: SecurityParameters, keys: &Keys) -> Result<Self, PacketError> {
        let rest = packet.strip_prefix(&RESPONSE_IDENTIFIER).ok_or(PacketError::Length)?;
        let (length, rest) = rest.split_first_chunk::<2>().ok_or(PacketError::Length)?;
        if usize::from(u16::from_be_bytes(*length)) != rest.len() {
            return Err(PacketError::Length);
        }
        let (head, body) = rest.split_first_chunk::<4>().ok_or(PacketError::Length)?;
        let [header_length, application @ ..] = *head;
        let integrity = parameters.response_integrity;
        if usize::from(header_length) != 3 + COUNTERS + 1 + integrity.length() {
            return Err(PacketError::Length);
        }
        let protection = Protection { ciphering: parameters.response_ciphering, integrity, keys };
        let covered: &[&[u8]] = &[&RESPONSE_IDENTIFIER, length, head];
        let (counters, data) = protection.decode(covered, body, COUNTERS + 1)?;
        Ok(Self { application, counter: counter_of(&counters), status: counters[COUNTERS], data })
    }
}

/// The part of a packet that may be ciphered.
struct Body<'a> {
    counter: u64,
    status: Option<u8>,
    data: &'a [u8],
}

/// How a packet is protected.
struct Protection<'a> {
    ciphering: Ciphering,
    integrity: Integrity,
    keys: &'a Keys,
}

impl Protection<'_> {
    fn encode(&self, covered: &[u8], head: &[u8], body: &Body<'_>) -> Result<Vec<u8>, PacketError> {
        let unpadded =
            COUNTERS + usize::from(body.status.is_some()) + self.integrity.length() + body.data.len();
        let padding = match self.ciphering {
            Ciphering::None => 0,
            Ciphering::Ciphered => unpadded.next_multiple_of(self.keys.ciphering.block()) - unpadded,
        };
        let length = u16::try_from(head.len() + unpadded + padding).map_err(|_| PacketError::TooLong)?;
        let mut counters = body.counter.to_be_bytes()[3..].to_vec();
        counters.push(padding as u8);
        counters.extend(body.status);
        let mut data = body.data.to_vec();
        data.resize(data.len() + padding, 0);
        let mut protected = counters.clone();
        if self.integrity == Integrity::CryptographicChecksum {
            let parts: &[&[u8]] = &[covered, &length.to_be_bytes(), head, &counters, &data];
            protected.extend(self.keys.integrity.checksum(parts));
        }
        protected.extend(&data);
        if self.ciphering == Ciphering::Ciphered {
            self.keys.ciphering.encrypt(&mut protected);
        }
        Ok([&length.to_be_bytes()[..], head, &protected].concat())
    }

    /// Gives the counters (with the status behind them) and the data.
    fn decode(
        &self,
        covered: &[&[u8]],
        body: &[u8],
        counters_length: usize,
    ) -> Result<(Vec<u8>, Vec<u8>), PacketError> {
        let mut clear = body.to_vec();
        if self.ciphering == Ciphering::Ciphered {
            if !clear.len().is_multiple_of(self.keys.ciphering.block()) {
                return Err(PacketError::Length);
            }
            self.keys.ciphering.decrypt(&mut clear);
        }
        let (counters, rest) = clear.split_at_checked(counters_length).ok_or(PacketError::Length)?;
        let (checksum, data) = rest.split_at_checked(self.integrity.length()).ok_or(PacketError::Length)?;
        if self.integrity == Integrity::CryptographicChecksum {
            let parts = [covered, &[counters, data]].concat();
            if !equal(&self.keys.integrity.checksum(&parts), checksum) {
                return Err(PacketError::Checksum);
            }
        }
        let padding = usize::from(counters[COUNTERS - 1]);
        let length = data.len().checked_sub(padding).ok_or(PacketError::Checksum)?;
        Ok((counters.to_vec(), data[..length].to_vec()))
    }
}

fn counter_of(counters: &[u8]) -> u64 {
    counters.iter().take(COUNTERS - 1).fold(0, |counter, byte| counter << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Any bytes are read without a panic, with either kind of key.
    #[test]
    fn fuzz_decode() {
        let all_keys = [
            (Key::TripleDes(DesKey::new([1; 16])), Key::TripleDes(DesKey::new([2; 16]))),
            (Key::Aes(AesKey::from([1; 16])), Key::Aes(AesKey::from([2; 16]))),
        ]
        .map(|(ciphering, integrity)| Keys { ciphering, integrity });
        bolero::check!().for_each(|bytes: &[u8]| {
            for keys in &all_keys {
                let _ = CommandPacket::decode(bytes, keys);
                if let Some((spi, rest)) = bytes.split_first_chunk::<2>()
                    && let Ok(parameters) = SecurityParameters::parse(*spi)
                {
                    assert_eq!(parameters.to_bytes(), *spi);
                    let _ = ResponsePacket::decode(rest, parameters, keys);
                }
            }
        });
    }
}
