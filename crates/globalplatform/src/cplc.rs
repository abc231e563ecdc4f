//! Card production life cycle data (GET DATA 9F7F; GPC 2.3.1, H.6 names the tag, the layout is that
//! of Visa GlobalPlatform 2.1.1 Configuration Requirements).

/// Card production life cycle data: 42 bytes of numbers and dates, each as it stands on the card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Cplc {
    /// IC fabricator.
    pub ic_fabricator: u16,
    /// IC type.
    pub ic_type: u16,
    /// Operating system identifier.
    pub operating_system_id: u16,
    /// Operating system release date.
    pub operating_system_release_date: u16,
    /// Operating system release level.
    pub operating_system_release_level: u16,
    /// IC fabrication date.
    pub ic_fabrication_date: u16,
    /// IC serial number.
    pub ic_serial_number: u32,
    /// IC batch identifier.
    pub ic_batch_identifier: u16,
    /// IC module fabricator.
    pub ic_module_fabricator: u16,
    /// IC module packaging date.
    pub ic_module_packaging_date: u16,
    /// ICC manufacturer.
    pub icc_manufacturer: u16,
    /// IC embedding date.
    pub ic_embedding_date: u16,
    /// IC pre-personaliser.
    pub ic_pre_personalizer: u16,
    /// Date of IC pre-personalisation.
    pub ic_pre_personalization_date: u16,
    /// Equipment of IC pre-personalisation.
    pub ic_pre_personalization_equipment: u32,
    /// IC personaliser.
    pub ic_personalizer: u16,
    /// Date of IC personalisation.
    pub ic_personalization_date: u16,
    /// Equipment of IC personalisation.
    pub ic_personalization_equipment: u32,
}

/// CPLC data of a wrong length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("CPLC data has 42 bytes (45 with tag and length), and this has {0}")]
pub struct CplcLength(pub usize);

/// Bytes of the value.
const LENGTH: usize = 42;

impl Cplc {
    /// Reads the value, with or without its tag 9F7F and length, as cards answer either.
    pub fn parse(bytes: &[u8]) -> Result<Self, CplcLength> {
        let value = bytes.strip_prefix(&[0x9F, 0x7F, LENGTH as u8]).unwrap_or(bytes);
        let value: &[u8; LENGTH] = value.try_into().map_err(|_| CplcLength(bytes.len()))?;
        let short = |at: usize| u16::from_be_bytes([value[at], value[at + 1]]);
        let long = |at: usize| u32::from(short(at)) << 16 | u32::from(short(at + 2));
        Ok(Self {
            ic_fabricator: short(0),
            ic_type: short(2),
            operating_system_id: short(4),
            operating_system_release_date: short(6),
            operating_system_release_level: short(8),
            ic_fabrication_date: short(10),
            ic_serial_number: long(12),
            ic_batch_identifier: short(16),
            ic_module_fabricator: short(18),
            ic_module_packaging_date: short(20),
            icc_manufacturer: short(22),
            ic_embedding_date: short(24),
            ic_pre_personalizer: short(26),
            ic_pre_personalization_date: short(28),
            ic_pre_personalization_equipment: long(30),
            ic_personalizer: short(34),
            ic_personalization_date: short(36),
            ic_personalization_equipment: long(38),
        })
    }

    /// The 42 bytes of the value.
    pub fn to_bytes(&self) -> [u8; LENGTH] {
        let mut out = Vec::with_capacity(LENGTH);
        let shorts = [
            self.ic_fabricator,
            self.ic_type,
            self.operating_system_id,
            self.operating_system_release_date,
            self.operating_system_release_level,
            self.ic_fabrication_date,
        ];
        shorts.into_iter().for_each(|value| out.extend(value.to_be_bytes()));
        out.extend(self.ic_serial_number.to_be_bytes());
        let shorts = [
            self.ic_batch_identifier,
            self.ic_module_fabricator,
            self.ic_module_packaging_date,
            self.icc_manufacturer,
            self.ic_embedding_date,
            self.ic_pre_personalizer,
            self.ic_pre_personalization_date,
        ];
        shorts.into_iter().for_each(|value| out.extend(value.to_be_bytes()));
        out.extend(self.ic_pre_personalization_equipment.to_be_bytes());
        out.extend(self.ic_personalizer.to_be_bytes());
        out.extend(self.ic_personalization_date.to_be_bytes());
        out.extend(self.ic_personalization_equipment.to_be_bytes());
        out.try_into().expect("the fields of CPLC data have 42 bytes together")
    }

    /// The data object: 9F7F, length, value.
    pub fn to_object(&self) -> Vec<u8> {
        tsm_iso7816::tlv::encode(0x9F7F, &self.to_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn reads_back(value in proptest::collection::vec(any::<u8>(), LENGTH)) {
            let cplc = Cplc::parse(&value).unwrap();
            prop_assert_eq!(cplc.to_bytes().to_vec(), value);
            prop_assert_eq!(Cplc::parse(&cplc.to_object()), Ok(cplc));
        }
    }

    #[test]
    fn other_lengths_are_refused() {
        for length in (0..60).filter(|length| *length != LENGTH) {
            assert_eq!(Cplc::parse(&vec![0; length]), Err(CplcLength(length)));
        }
    }
}
