//! A Mifare application as it is downloaded: which sectors it takes, and what stands in them.
//!
//! ```text
//! id 2 | label length 1 | label | number of sectors 1 | per sector: number 1, data blocks, trailer 16
//! ```
//!
//! Sector 0 belongs to the manufacturer and the application directory, so no application has it.

use core::fmt;

use super::{
    BLOCK_LENGTH,
    layout::{Capacity, Sector},
    trailer::SectorTrailer,
};
use crate::{LayoutError, bytes::Fields};

/// The identifier of a Mifare application (AN10787: function cluster and application code).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MifareApplicationId(pub u16);

/// What stands in one sector.
#[derive(Clone, PartialEq, Eq)]
pub struct SectorImage {
    /// The sector.
    pub sector: Sector,
    /// Its data blocks, one after another, all but the trailer.
    pub data: Vec<u8>,
    /// Its trailer.
    pub trailer: SectorTrailer,
}

impl fmt::Debug for SectorImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SectorImage(sector {}, {} bytes)", self.sector.number(), self.data.len())
    }
}

/// A Mifare application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MifareApplication {
    id: MifareApplicationId,
    label: Vec<u8>,
    sectors: Vec<SectorImage>,
}

impl MifareApplication {
    /// An application that takes `sectors`: at least one, none twice, not sector 0, data of the right length.
    pub fn new(
        id: MifareApplicationId,
        label: impl Into<Vec<u8>>,
        sectors: Vec<SectorImage>,
    ) -> Result<Self, LayoutError> {
        let label = label.into();
        if label.len() > 32 {
            return Err(LayoutError::Length { what: "a Mifare label", expected: 32, found: label.len() });
        }
        if sectors.is_empty() {
            return Err(LayoutError::Count { what: "a sector" });
        }
        for (index, image) in sectors.iter().enumerate() {
            let number = image.sector.number();
            if number == 0 {
                return Err(LayoutError::Value { what: "an application's sector", value: 0 });
            }
            if sectors[..index].iter().any(|earlier| earlier.sector == image.sector) {
                return Err(LayoutError::Count { what: "a sector" });
            }
            let expected = data_length(image.sector);
            if image.data.len() != expected {
                return Err(LayoutError::Length {
                    what: "a sector's data",
                    expected,
                    found: image.data.len(),
                });
            }
        }
        Ok(Self { id, label, sectors })
    }

    /// The identifier.
    pub const fn id(&self) -> MifareApplicationId {
        self.id
    }

    /// The name that people see.
    pub fn label(&self) -> &[u8] {
        &self.label
    }

    /// The sectors.
    pub fn sectors(&self) -> &[SectorImage] {
        &self.sectors
    }

    /// As it is downloaded.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.id.0.to_be_bytes().to_vec();
        out.push(self.label.len() as u8);
        out.extend(&self.label);
        out.push(self.sectors.len() as u8);
        for image in &self.sectors {
            out.push(image.sector.number());
            out.extend(&image.data);
            out.extend(image.trailer.encode());
        }
        out
    }

    /// Reads a download for a memory of `capacity`.
    pub fn decode(bytes: &[u8], capacity: Capacity) -> Result<Self, LayoutError> {
        let mut fields = Fields::new("a Mifare application", bytes);
        let id = MifareApplicationId(fields.u16()?);
        let label_length = fields.byte()?;
        let label = fields.slice(label_length.into())?;
        let count = fields.byte()?;
        let mut sectors = Vec::new();
        for _ in 0..count {
            let number = fields.byte()?;
            let sector = Sector::new(capacity, number)
                .ok_or(LayoutError::Value { what: "a sector's number", value: number.into() })?;
            let data = fields.slice(data_length(sector))?.to_vec();
            let trailer = SectorTrailer::decode(fields.slice(BLOCK_LENGTH)?)?;
            sectors.push(SectorImage { sector, data, trailer });
        }
        fields.end()?;
        Self::new(id, label, sectors)
    }
}

/// How many data bytes a sector has beside its trailer.
pub const fn data_length(sector: Sector) -> usize {
    (sector.block_count() as usize - 1) * BLOCK_LENGTH
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn image(number: u8) -> SectorImage {
        let sector = Sector::new(Capacity::FourK, number).unwrap();
        SectorImage { sector, data: vec![number; data_length(sector)], trailer: SectorTrailer::TRANSPORT }
    }

    fn application(sectors: &[u8]) -> Result<MifareApplication, LayoutError> {
        MifareApplication::new(
            MifareApplicationId(0x4801),
            "canteen",
            sectors.iter().map(|n| image(*n)).collect(),
        )
    }

    #[test]
    fn impossible_applications_are_refused() {
        assert!(application(&[1, 2, 39]).is_ok());
        assert!(matches!(application(&[]), Err(LayoutError::Count { .. })));
        assert!(matches!(application(&[1, 1]), Err(LayoutError::Count { .. })));
        assert!(matches!(application(&[0]), Err(LayoutError::Value { .. })));
        let bytes = application(&[17]).unwrap().encode();
        assert!(MifareApplication::decode(&bytes, Capacity::OneK).is_err(), "1 KiB has 16 sectors");
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(MifareApplication::decode(&longer, Capacity::FourK).is_err());
        assert!(MifareApplication::decode(&bytes[..bytes.len() - 1], Capacity::FourK).is_err());
    }

    proptest! {
        #[test]
        fn applications_read_back(numbers in prop::collection::btree_set(1u8..40, 1..8)) {
            let application = application(&numbers.into_iter().collect::<Vec<_>>()).unwrap();
            prop_assert_eq!(MifareApplication::decode(&application.encode(), Capacity::FourK), Ok(application));
        }
    }

    #[test]
    fn parsers_never_panic() {
        bolero::check!().for_each(|bytes| {
            for capacity in [Capacity::OneK, Capacity::FourK] {
                let _ = MifareApplication::decode(bytes, capacity);
            }
            let _ = SectorTrailer::decode(bytes);
        });
    }
}
