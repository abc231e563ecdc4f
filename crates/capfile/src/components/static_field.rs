//! StaticField component (JCVM 3.1, 6.11).

use crate::reader::Reader;
use crate::{ComponentTag, Fault, RawComponent};

/// An array that a class initialiser fills.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArrayInit {
    /// 2 boolean, 3 byte, 4 short, 5 int.
    pub element_type: u8,
    /// Its bytes.
    pub values: Vec<u8>,
}

/// The image of the static fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticFieldComponent {
    /// The bytes of the image.
    pub image_size: u16,
    /// Fields of reference types, two bytes each, first in the image.
    pub reference_count: u16,
    /// Arrays with contents.
    pub array_init: Vec<ArrayInit>,
    /// Bytes of primitive fields without contents.
    pub default_value_count: u16,
    /// Bytes of primitive fields with contents, last in the image.
    pub non_default_values: Vec<u8>,
}

impl StaticFieldComponent {
    /// The bytes of all initialised arrays.
    pub fn array_init_size(&self) -> usize {
        self.array_init.iter().map(|array| array.values.len()).sum()
    }

    pub(crate) fn parse(component: &RawComponent) -> Result<Self, Fault> {
        let mut reader = Reader::new(ComponentTag::StaticField, component.info());
        let image_size = reader.u2("the image size")?;
        let reference_count = reader.u2("the reference count")?;
        let array_count = reader.u2("the count of initialised arrays")?;
        if array_count > reference_count {
            let reason =
                format!("{array_count} initialised arrays, and {reference_count} references to hold them");
            return Err(reader.fault_at(4, reason));
        }
        let mut array_init = Vec::new();
        for _ in 0..array_count {
            array_init.push(parse_array(&mut reader)?);
        }
        let default_value_count = reader.u2("the count of default values")?;
        let count = reader.u2("the count of values")?;
        let non_default_values = reader.take(usize::from(count), "the values")?.to_vec();
        reader.finish()?;
        let sum = 2 * u32::from(reference_count) + u32::from(default_value_count) + u32::from(count);
        if u32::from(image_size) != sum {
            let reason = format!("the image size is {image_size}, and its segments have {sum} bytes");
            return Err(reader.fault_at(0, reason));
        }
        Ok(Self { image_size, reference_count, array_init, default_value_count, non_default_values })
    }
}

fn parse_array(reader: &mut Reader<'_>) -> Result<ArrayInit, Fault> {
    let offset = reader.offset();
    let element_type = reader.u1("an initialised array")?;
    let width = match element_type {
        2 | 3 => 1,
        4 => 2,
        5 => 4,
        _ => {
            let reason = format!("{element_type} is not the type of an initialised array (2 to 5)");
            return Err(reader.fault_at(offset, reason));
        }
    };
    let count = usize::from(reader.u2("an initialised array")?);
    if !count.is_multiple_of(width) {
        let reason = format!("{count} bytes are no whole number of elements of {width} bytes");
        return Err(reader.fault_at(offset + 1, reason));
    }
    Ok(ArrayInit { element_type, values: reader.take(count, "an initialised array")?.to_vec() })
}
