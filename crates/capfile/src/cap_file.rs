//! A CAP file: its components, and what management needs of them.

use sha1::Sha1;
use sha2::{Digest, Sha256};
use tsm_iso7816::Aid;

use crate::archive::{self, Manifest};
use crate::components::{
    AppletComponent, AppletEntry, ClassComponent, ConstantPoolComponent, DescriptorComponent,
    DirectoryComponent, ExportComponent, HeaderComponent, ImportComponent, MethodComponent,
    ReferenceLocationComponent, StaticFieldComponent, StaticResourcesComponent,
};
use crate::load_file::split;
use crate::{CapError, ComponentTag, Form, Format, PackageInfo, PackageVersion, RawComponent};

/// Whether the Descriptor component is part of the load file data block: hosts differ, and both are legal,
/// but length and hash differ too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Descriptor {
    /// Loaded last.
    Include,
    /// Left out.
    Omit,
}

/// What a package takes on a card, as far as the file tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StaticSizes {
    /// Non-volatile bytes of code: what stays after linking, that is Applet, Import, Class, Method, Export,
    /// ConstantPool and StaticResources. A card may need less or a little more.
    pub code_bytes: usize,
    /// The image of the static fields.
    pub static_image_bytes: usize,
    /// The arrays that class initialisers fill.
    pub array_init_bytes: usize,
}

impl StaticSizes {
    /// Code, static fields and their arrays: the non-volatile memory that loading the package takes.
    pub const fn non_volatile_bytes(&self) -> usize {
        self.code_bytes + self.static_image_bytes + self.array_init_bytes
    }

    pub(crate) fn of(components: &[RawComponent], static_field: Option<&StaticFieldComponent>) -> Self {
        let stays = |tag| {
            matches!(
                tag,
                ComponentTag::Applet
                    | ComponentTag::Import
                    | ComponentTag::Class
                    | ComponentTag::Method
                    | ComponentTag::Export
                    | ComponentTag::ConstantPool
                    | ComponentTag::StaticResources
            )
        };
        Self {
            code_bytes: components
                .iter()
                .filter(|component| stays(component.tag()))
                .map(|component| component.info().len())
                .sum(),
            static_image_bytes: static_field.map_or(0, |field| usize::from(field.image_size)),
            array_init_bytes: static_field.map_or(0, StaticFieldComponent::array_init_size),
        }
    }
}

/// A CAP file whose components are each well formed. [`verify`](crate::verify) checks them against one
/// another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapFile {
    pub(crate) header: HeaderComponent,
    pub(crate) directory: DirectoryComponent,
    pub(crate) import: ImportComponent,
    pub(crate) applet: Option<AppletComponent>,
    pub(crate) class: ClassComponent,
    pub(crate) method: MethodComponent,
    pub(crate) static_field: StaticFieldComponent,
    pub(crate) export: Option<ExportComponent>,
    pub(crate) constant_pool: ConstantPoolComponent,
    pub(crate) reference_location: ReferenceLocationComponent,
    pub(crate) descriptor: Option<DescriptorComponent>,
    pub(crate) static_resources: Option<StaticResourcesComponent>,
    pub(crate) raw: Vec<RawComponent>,
    pub(crate) manifest: Manifest,
    pub(crate) is_in_javacard_folder: bool,
}

impl CapFile {
    /// Reads a CAP file: the JAR that a converter writes, or its components one after another (an `.ijc`
    /// file, or a load file data block).
    pub fn parse(bytes: &[u8]) -> Result<Self, CapError> {
        if bytes.starts_with(b"PK") {
            let contents = archive::read(bytes)?;
            let cap = Self::from_components(contents.components)?;
            let is_in_javacard_folder = contents.is_in_javacard_folder;
            return Ok(Self { manifest: contents.manifest, is_in_javacard_folder, ..cap });
        }
        if bytes.first() != Some(&ComponentTag::Header.number()) {
            return Err(CapError::NotACapFile);
        }
        if bytes.len() > MAX_DATA_BLOCK {
            return Err(CapError::TooLarge { limit: MAX_DATA_BLOCK, of: "bytes" });
        }
        Self::from_components(split(bytes)?)
    }

    /// Reads components that were taken from wherever they were.
    pub fn from_components(components: Vec<RawComponent>) -> Result<Self, CapError> {
        let mut sorted = components;
        sorted.sort_by_key(RawComponent::tag);
        if let Some(twice) = sorted.windows(2).find(|pair| pair[0].tag() == pair[1].tag()) {
            return Err(CapError::Duplicate(twice[0].tag()));
        }
        if let Some(ComponentTag::Reserved(number)) =
            sorted.iter().map(RawComponent::tag).find(|tag| matches!(tag, ComponentTag::Reserved(_)))
        {
            return Err(CapError::Reserved(number));
        }
        let find = |tag| sorted.iter().find(|component| component.tag() == tag);
        let need = |tag| find(tag).ok_or(CapError::Missing(tag));
        let header = HeaderComponent::parse(need(ComponentTag::Header)?)?;
        let (format, form) = (header.format, header.form());
        Ok(Self {
            directory: DirectoryComponent::parse(need(ComponentTag::Directory)?, format, form)?,
            import: ImportComponent::parse(need(ComponentTag::Import)?)?,
            applet: optional(find(ComponentTag::Applet), |raw| AppletComponent::parse(raw, form))?,
            class: ClassComponent::parse(need(ComponentTag::Class)?, format, form)?,
            method: MethodComponent::parse(need(ComponentTag::Method)?, form)?,
            static_field: StaticFieldComponent::parse(need(ComponentTag::StaticField)?)?,
            export: optional(find(ComponentTag::Export), |raw| ExportComponent::parse(raw, form))?,
            constant_pool: ConstantPoolComponent::parse(need(ComponentTag::ConstantPool)?, form)?,
            reference_location: ReferenceLocationComponent::parse(
                need(ComponentTag::ReferenceLocation)?,
                form,
            )?,
            descriptor: optional(find(ComponentTag::Descriptor), |raw| {
                DescriptorComponent::parse(raw, form)
            })?,
            static_resources: optional(find(ComponentTag::StaticResources), StaticResourcesComponent::parse)?,
            manifest: Manifest::default(),
            is_in_javacard_folder: true,
            header,
            raw: sorted,
        })
    }

    /// The AID of the package, or of the CAP file in the extended form: the load file's AID.
    pub const fn package_aid(&self) -> Aid {
        self.header.package.aid
    }

    /// The version of the package, or of the CAP file in the extended form.
    pub const fn package_version(&self) -> PackageVersion {
        self.header.package.version
    }

    /// The name of the first package in internal form, where the file gives it.
    pub fn package_name(&self) -> Option<&str> {
        self.header.package_names.first().map(String::as_str).filter(|name| !name.is_empty())
    }

    /// The file format.
    pub const fn format(&self) -> Format {
        self.header.format
    }

    /// Compact or extended.
    pub const fn form(&self) -> Form {
        self.header.form()
    }

    /// The Header component.
    pub const fn header(&self) -> &HeaderComponent {
        &self.header
    }

    /// The applets: the executable modules. None in a library.
    pub fn applets(&self) -> &[AppletEntry] {
        self.applet.as_ref().map_or(&[], |component| &component.applets)
    }

    /// The packages that must be on the card, in the order of their tokens.
    pub fn imports(&self) -> &[PackageInfo] {
        &self.import.packages
    }

    /// The Descriptor component, if the file has one.
    pub const fn descriptor(&self) -> Option<&DescriptorComponent> {
        self.descriptor.as_ref()
    }

    /// The Export component, if the file has one.
    pub const fn export(&self) -> Option<&ExportComponent> {
        self.export.as_ref()
    }

    /// The static resources, if the file has some.
    pub const fn static_resources(&self) -> Option<&StaticResourcesComponent> {
        self.static_resources.as_ref()
    }

    /// The attributes of the manifest; empty where the file had none.
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Every component as it stands in the file, by tag. Debug and custom ones are among them.
    pub fn components(&self) -> &[RawComponent] {
        &self.raw
    }

    /// What the package takes on a card.
    pub fn sizes(&self) -> StaticSizes {
        StaticSizes::of(&self.raw, Some(&self.static_field))
    }

    /// The load file data block: components in the standard order, without Debug and custom components
    /// (GPC 2.3.1 11.6.2.3; JCVM 3.1 6.3).
    pub fn load_file_data_block(&self, descriptor: Descriptor) -> Vec<u8> {
        ComponentTag::LOAD_ORDER
            .into_iter()
            .filter(|tag| *tag != ComponentTag::Descriptor || descriptor == Descriptor::Include)
            .filter_map(|tag| self.raw.iter().find(|component| component.tag() == tag))
            .flat_map(|component| component.bytes())
            .copied()
            .collect()
    }

    /// The SHA-1 hash of the load file data block.
    pub fn load_file_data_block_sha1(&self, descriptor: Descriptor) -> [u8; 20] {
        Sha1::digest(self.load_file_data_block(descriptor)).into()
    }

    /// The SHA-256 hash of the load file data block.
    pub fn load_file_data_block_sha256(&self, descriptor: Descriptor) -> [u8; 32] {
        Sha256::digest(self.load_file_data_block(descriptor)).into()
    }
}

const MAX_DATA_BLOCK: usize = archive::MAX_CAP_BYTES;

fn optional<T>(
    component: Option<&RawComponent>,
    parse: impl FnOnce(&RawComponent) -> Result<T, crate::Fault>,
) -> Result<Option<T>, CapError> {
    Ok(component.map(parse).transpose()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CapBuilder;

    const PACKAGE: Aid = Aid::constant(&[0xF0, 0x4F, 0x54, 0x53, 0x4D, 1, 5]);

    fn module(number: u8) -> Aid {
        Aid::new(&[0xF0, 0x4F, 0x54, 0x53, 0x4D, 1, 5, 1, number]).unwrap()
    }

    /// JCVM 3.1, table 6-3: the order of installation.
    #[test]
    fn the_data_block_is_in_load_order() {
        let builder = CapBuilder::new(PACKAGE)
            .applet(module(1))
            .format(Format::V2_3)
            .static_resource(5, vec![1, 2, 3])
            .debug(vec![0])
            .custom_component(130, PACKAGE, vec![1]);
        let cap = builder.build_cap().unwrap();
        let tags = |descriptor| -> Vec<u8> {
            let components = split(&cap.load_file_data_block(descriptor)).unwrap();
            components.iter().map(|component| component.tag().number()).collect()
        };
        assert_eq!(tags(Descriptor::Include), [1, 2, 4, 3, 6, 7, 8, 5, 9, 13, 11]);
        assert_eq!(tags(Descriptor::Omit), [1, 2, 4, 3, 6, 7, 8, 5, 9, 13]);
        let library = CapBuilder::new(PACKAGE).build_cap().unwrap();
        let components = split(&library.load_file_data_block(Descriptor::Omit)).unwrap();
        let tags: Vec<u8> = components.iter().map(|component| component.tag().number()).collect();
        assert_eq!(tags, [1, 2, 4, 6, 7, 8, 10, 5, 9]);
    }

    #[test]
    fn hashes_are_those_of_the_data_block() {
        let cap = CapBuilder::new(PACKAGE).applet(module(1)).build_cap().unwrap();
        let block = cap.load_file_data_block(Descriptor::Include);
        assert_eq!(cap.load_file_data_block_sha1(Descriptor::Include)[..], Sha1::digest(&block)[..]);
        assert_eq!(cap.load_file_data_block_sha256(Descriptor::Include)[..], Sha256::digest(&block)[..]);
        assert_ne!(
            cap.load_file_data_block_sha1(Descriptor::Include),
            cap.load_file_data_block_sha1(Descriptor::Omit)
        );
    }

    #[test]
    fn padding_is_counted_as_code() {
        let sizes = |padding| CapBuilder::new(PACKAGE).padding(padding).build_cap().unwrap().sizes();
        assert_eq!(sizes(5000).code_bytes, sizes(0).code_bytes + 5000);
        assert_eq!(sizes(60_000).non_volatile_bytes(), sizes(0).non_volatile_bytes() + 60_000);
    }

    #[test]
    fn a_compact_file_ends_at_64_kilobytes_and_an_extended_one_does_not() {
        let builder = CapBuilder::new(PACKAGE).format(Format::V2_3).applet(module(1)).padding(200_000);
        assert_eq!(builder.build(), Err(crate::BuildError::TooLong(ComponentTag::Method)));
        let cap = builder.form(Form::Extended).build_cap().unwrap();
        assert!(cap.method.blocks.len() > 2);
        assert_eq!(crate::verify(&cap), Ok(Vec::new()));
    }

    #[test]
    fn fuzz_components() {
        bolero::check!().with_type::<(u8, bool, Vec<u8>)>().for_each(|(number, extended, info)| {
            let form = if *extended { Form::Extended } else { Form::Compact };
            let tag = ComponentTag::from_number(number % 14);
            let Some(raw) = RawComponent::frame(tag, form, info) else { return };
            drop(HeaderComponent::parse(&raw));
            drop(ImportComponent::parse(&raw));
            drop(AppletComponent::parse(&raw, form));
            drop(MethodComponent::parse(&raw, form));
            drop(StaticFieldComponent::parse(&raw));
            drop(ExportComponent::parse(&raw, form));
            drop(ConstantPoolComponent::parse(&raw, form));
            drop(ReferenceLocationComponent::parse(&raw, form));
            drop(DescriptorComponent::parse(&raw, form));
            drop(StaticResourcesComponent::parse(&raw));
            for format in [Format::V2_1, Format::V2_2, Format::V2_3] {
                drop(DirectoryComponent::parse(&raw, format, form));
                drop(ClassComponent::parse(&raw, format, form));
            }
        });
    }
}
