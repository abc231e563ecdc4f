//! Card recognition data (GET DATA 0066; GPC 2.3.1, H.2 and H.3).

use tsm_iso7816::tlv::{self, TlvError};

/// What a card says of itself and of the secure channels of its issuer security domain.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CardRecognitionData {
    /// The GlobalPlatform version, as in 2.3.1: from {globalPlatform 2 v} in 60.
    pub version: Vec<u8>,
    /// The secure channel protocols: number and implementation option `i` of each, from 64.
    pub protocols: Vec<SecureChannelProtocol>,
}

/// A secure channel protocol and its implementation option.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SecureChannelProtocol {
    /// 02 for SCP02, 03 for SCP03, 80 for SCP80.
    pub number: u8,
    /// The option `i`.
    pub implementation: u8,
}

/// Why bytes are not card recognition data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecognitionError {
    /// The data objects are malformed or missing.
    #[error("the data objects of the card recognition data are malformed")]
    Tlv(#[from] TlvError),
    /// An object identifier is not one of GlobalPlatform's.
    #[error("the object identifier in {0:02X} is not one of GlobalPlatform's")]
    ObjectIdentifier(u32),
}

/// {iso(1) member-body(2) country-USA(840) globalPlatform(114283)}
const GLOBALPLATFORM: [u8; 7] = [0x2A, 0x86, 0x48, 0x86, 0xFC, 0x6B, 0x01];
const ROOT: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xFC, 0x6B];

impl CardRecognitionData {
    /// Reads the data object 66, or the 73 in it.
    pub fn parse(bytes: &[u8]) -> Result<Self, RecognitionError> {
        let template = tlv::find(bytes, 0x66)?.unwrap_or(bytes);
        let data = tlv::find_one(template, 0x73)?;
        let version = match tlv::find(data, 0x60)? {
            Some(object) => identifier(object, 0x60, 2)?.to_vec(),
            None => Vec::new(),
        };
        let mut protocols = Vec::new();
        for object in tlv::Reader::new(data) {
            let object = object?;
            if object.tag.0 == 0x64 {
                protocols.extend(SecureChannelProtocol::parse_all(object.value)?);
            }
        }
        Ok(Self { version, protocols })
    }

    /// The data object 66.
    pub fn to_object(&self) -> Vec<u8> {
        let mut data = tlv::encode(0x06, &GLOBALPLATFORM);
        tlv::write(&mut data, 0x60, &oid(2, &self.version));
        // {globalPlatform 3}: the card identification scheme is that of the standard.
        tlv::write(&mut data, 0x63, &oid(3, &[]));
        for protocol in &self.protocols {
            tlv::write(&mut data, 0x64, &oid(4, &[protocol.number, protocol.implementation]));
        }
        tlv::encode(0x66, &tlv::encode(0x73, &data))
    }
}

impl SecureChannelProtocol {
    fn parse_all(value: &[u8]) -> Result<Vec<Self>, RecognitionError> {
        tlv::Reader::new(value)
            .map(|object| match arc(object?.value, 4) {
                Some(&[number, implementation]) => Ok(Self { number, implementation }),
                // Numbers of 128 and more take two bytes: SCP80 and SCP81 are 81 00 and 81 01.
                Some(&[0x81, low @ 0..=0x7F, implementation]) => {
                    Ok(Self { number: 0x80 | low, implementation })
                }
                _ => Err(RecognitionError::ObjectIdentifier(0x64)),
            })
            .collect()
    }
}

/// The object identifier {globalPlatform `arc` `rest`} as a data object.
fn oid(arc: u8, rest: &[u8]) -> Vec<u8> {
    let mut value = ROOT.to_vec();
    value.push(arc);
    for byte in rest {
        // Arcs of 128 and more take two bytes.
        if *byte >= 0x80 {
            value.push(0x81);
        }
        value.push(byte & 0x7F);
    }
    tlv::encode(0x06, &value)
}

fn arc(identifier: &[u8], arc: u8) -> Option<&[u8]> {
    identifier.strip_prefix(ROOT)?.strip_prefix(&[arc])
}

fn identifier(object: &[u8], tag: u32, number: u8) -> Result<&[u8], RecognitionError> {
    arc(tlv::find_one(object, 0x06)?, number).ok_or(RecognitionError::ObjectIdentifier(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Card recognition data of a GlobalPlatform 2.1.1 card with SCP02 i=15, as GPC H.2 lays it out.
    const CARD: &str = "664C734A06072A864886FC6B01600C060A2A864886FC6B02020101630906072A864886FC6B03640B06092A864886FC6B040215650B06092B8510864864020103660C060A2B060104012A026E0102";

    #[test]
    fn reads_a_card() {
        let data = CardRecognitionData::parse(&hex::decode(CARD).unwrap()).unwrap();
        assert_eq!(data.version, [2, 1, 1]);
        assert_eq!(data.protocols, [SecureChannelProtocol { number: 2, implementation: 0x15 }]);
    }

    #[test]
    fn reads_back() {
        let data = CardRecognitionData {
            version: vec![2, 3, 1],
            protocols: vec![
                SecureChannelProtocol { number: 2, implementation: 0x55 },
                SecureChannelProtocol { number: 3, implementation: 0x70 },
                SecureChannelProtocol { number: 0x80, implementation: 0x00 },
            ],
        };
        assert_eq!(CardRecognitionData::parse(&data.to_object()), Ok(data));
    }

    #[test]
    fn refuses_what_is_not_globalplatform() {
        let bytes = hex::decode("7306640406022B06").unwrap();
        assert_eq!(CardRecognitionData::parse(&bytes), Err(RecognitionError::ObjectIdentifier(0x64)));
        assert_eq!(CardRecognitionData::parse(&[]), Err(TlvError::Missing(0x73).into()));
    }

    #[test]
    fn fuzz_parse() {
        bolero::check!().for_each(|bytes: &[u8]| {
            let _ = CardRecognitionData::parse(bytes);
        });
    }
}
