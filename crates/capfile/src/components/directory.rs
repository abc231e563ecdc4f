//! Directory component (JCVM 3.1, 6.5).

use tsm_iso7816::Aid;

use crate::reader::Reader;
use crate::{ComponentTag, Fault, Form, Format, RawComponent};

/// A vendor's component that the Directory announces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomComponent {
    /// Its tag, 128 to 255.
    pub tag: ComponentTag,
    /// The size of its info item.
    pub size: u32,
    /// The AID that names its kind.
    pub aid: Aid,
}

/// The sizes and counts of the other components.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryComponent {
    /// The size of each component's info item by tag, 1 first: 11 of them in format 2.1, 12 in 2.2, 13 in 2.3.
    pub sizes: Vec<u32>,
    /// The size of the static field image.
    pub image_size: u16,
    /// The number of initialised arrays.
    pub array_init_count: u16,
    /// The bytes of the initialised arrays.
    pub array_init_size: u16,
    /// The number of imported packages.
    pub import_count: u8,
    /// The number of applets.
    pub applet_count: u8,
    /// The number of method blocks, in the extended form.
    pub method_block_count: Option<u8>,
    /// The custom components.
    pub custom: Vec<CustomComponent>,
}

impl DirectoryComponent {
    /// The size that the Directory states for a component of tags 1 to 13, if it has an entry for it.
    pub fn size(&self, tag: ComponentTag) -> Option<u32> {
        let index = usize::from(tag.number()).checked_sub(1)?;
        self.sizes.get(index).copied()
    }

    /// Where the entry for a component stands in the info item.
    pub(crate) fn size_offset(&self, tag: ComponentTag, form: Form) -> usize {
        (1..tag.number())
            .map(|number| if ComponentTag::from_number(number).has_wide_size(form) { 4 } else { 2 })
            .sum()
    }

    /// Secondary descriptions of the extended form differ on the method block count, so that a Directory
    /// without it is read as well.
    pub(crate) fn parse(component: &RawComponent, format: Format, form: Form) -> Result<Self, Fault> {
        let parsed = Self::parse_counting(component, format, form, form);
        match form {
            Form::Compact => parsed,
            Form::Extended => parsed.or_else(|fault| {
                Self::parse_counting(component, format, form, Form::Compact).map_err(|_| fault)
            }),
        }
    }

    /// `counting` is the form whose counts follow the sizes.
    fn parse_counting(
        component: &RawComponent,
        format: Format,
        form: Form,
        counting: Form,
    ) -> Result<Self, Fault> {
        let mut reader = Reader::new(ComponentTag::Directory, component.info());
        let count = match format {
            Format::V2_1 => 11,
            Format::V2_2 => 12,
            Format::V2_3 => 13,
        };
        let mut sizes = Vec::with_capacity(13);
        for number in 1..=count {
            let size = match ComponentTag::from_number(number).has_wide_size(form) {
                true => reader.u4("a component size")?,
                false => u32::from(reader.u2("a component size")?),
            };
            sizes.push(size);
        }
        let image_size = reader.u2("the static field image size")?;
        let array_init_count = reader.u2("the count of initialised arrays")?;
        let array_init_size = reader.u2("the size of initialised arrays")?;
        let import_count = reader.u1("the import count")?;
        let applet_count = reader.u1("the applet count")?;
        let method_block_count = match counting {
            Form::Extended => Some(reader.u1("the method block count")?),
            Form::Compact => None,
        };
        let custom = parse_custom(&mut reader, form)?;
        reader.finish()?;
        Ok(Self {
            sizes,
            image_size,
            array_init_count,
            array_init_size,
            import_count,
            applet_count,
            method_block_count,
            custom,
        })
    }
}

fn parse_custom(reader: &mut Reader<'_>, form: Form) -> Result<Vec<CustomComponent>, Fault> {
    let count = reader.u1("the count of custom components")?;
    let mut custom = Vec::new();
    for _ in 0..count {
        let offset = reader.offset();
        let tag = ComponentTag::from_number(reader.u1("a custom component's tag")?);
        if !matches!(tag, ComponentTag::Custom(_)) {
            let reason = format!("{} is not the tag of a custom component (128 to 255)", tag.number());
            return Err(reader.fault_at(offset, reason));
        }
        let size = match tag.has_wide_size(form) {
            true => reader.u4("a custom component's size")?,
            false => u32::from(reader.u2("a custom component's size")?),
        };
        let aid = reader.aid("a custom component's AID")?;
        custom.push(CustomComponent { tag, size, aid });
    }
    Ok(custom)
}
