//! The card's side: a load file data block, as it arrives by LOAD.
//!
//! A card takes what hosts send: components in other orders, with or without Descriptor and even Debug,
//! vendors' components it does not know. It needs the package, the modules, what they import and how much
//! memory they take.

use tsm_iso7816::Aid;

use crate::components::{AppletComponent, HeaderComponent, ImportComponent, StaticFieldComponent};
use crate::{
    CapError, ComponentTag, Fault, Form, Format, PackageInfo, PackageVersion, RawComponent, StaticSizes,
};

/// Why a load file data block is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadFileError {
    /// No component at all.
    #[error("the load file data block is empty")]
    Empty,
    /// No Header component, or not of a CAP file.
    #[error("the load file data block has no Header component")]
    NoHeader,
    /// The same component twice.
    #[error("the {0} component stands more than once")]
    Duplicate(ComponentTag),
    /// A module stands twice.
    #[error("the module {0} stands more than once")]
    DuplicateModule(Aid),
    /// Code is missing: a package without its Method component is no package.
    #[error("the {0} component is missing")]
    Missing(ComponentTag),
    /// A component is malformed.
    #[error(transparent)]
    Malformed(#[from] Fault),
}

impl From<SplitError> for LoadFileError {
    fn from(error: SplitError) -> Self {
        match error {
            SplitError::Duplicate(tag) => Self::Duplicate(tag),
            SplitError::Malformed(fault) => Self::Malformed(fault),
        }
    }
}

/// What a card learns from a load file data block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadFile {
    package: PackageInfo,
    format: Format,
    form: Form,
    modules: Vec<Aid>,
    imports: Vec<PackageInfo>,
    sizes: StaticSizes,
    components: Vec<ComponentTag>,
}

impl LoadFile {
    /// Reads a load file data block: the value of tag C4.
    pub fn parse(data_block: &[u8]) -> Result<Self, LoadFileError> {
        if data_block.is_empty() {
            return Err(LoadFileError::Empty);
        }
        let components = split(data_block)?;
        let tags: Vec<ComponentTag> = components.iter().map(RawComponent::tag).collect();
        let find = |tag| components.iter().find(|component| component.tag() == tag);
        let header = HeaderComponent::parse(find(ComponentTag::Header).ok_or(LoadFileError::NoHeader)?)?;
        find(ComponentTag::Method).ok_or(LoadFileError::Missing(ComponentTag::Method))?;
        let form = header.form();
        let applet = find(ComponentTag::Applet).map(|raw| AppletComponent::parse(raw, form)).transpose()?;
        let import = find(ComponentTag::Import).map(ImportComponent::parse).transpose()?;
        let field = find(ComponentTag::StaticField).map(StaticFieldComponent::parse).transpose()?;
        let modules: Vec<Aid> =
            applet.iter().flat_map(|applet| &applet.applets).map(|entry| entry.aid).collect();
        if let Some(twice) = first_duplicate(&modules) {
            return Err(LoadFileError::DuplicateModule(twice));
        }
        Ok(Self {
            package: header.package,
            format: header.format,
            form,
            modules,
            imports: import.map(|import| import.packages).unwrap_or_default(),
            sizes: StaticSizes::of(&components, field.as_ref()),
            components: tags,
        })
    }

    /// The package AID: the load file's AID.
    pub const fn package_aid(&self) -> Aid {
        self.package.aid
    }

    /// The package version.
    pub const fn package_version(&self) -> PackageVersion {
        self.package.version
    }

    /// The file format.
    pub const fn format(&self) -> Format {
        self.format
    }

    /// Compact or extended.
    pub const fn form(&self) -> Form {
        self.form
    }

    /// The module AIDs in the order of the file. None in a library.
    pub fn modules(&self) -> &[Aid] {
        &self.modules
    }

    /// The packages that must be on the card.
    pub fn imports(&self) -> &[PackageInfo] {
        &self.imports
    }

    /// What the package takes on the card.
    pub const fn sizes(&self) -> StaticSizes {
        self.sizes
    }

    /// The components in the order in which they came.
    pub fn components(&self) -> &[ComponentTag] {
        &self.components
    }
}

fn first_duplicate<T: Ord + Copy>(values: &[T]) -> Option<T> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
}

/// Why concatenated components cannot be told apart.
#[derive(Debug)]
pub(crate) enum SplitError {
    Duplicate(ComponentTag),
    Malformed(Fault),
}

impl From<SplitError> for CapError {
    fn from(error: SplitError) -> Self {
        match error {
            SplitError::Duplicate(tag) => Self::Duplicate(tag),
            SplitError::Malformed(fault) => Self::Malformed(fault),
        }
    }
}

/// Splits concatenated components. The Header tells the form and stands first as a rule; where it does not,
/// the compact form is tried before the extended one.
pub(crate) fn split(bytes: &[u8]) -> Result<Vec<RawComponent>, SplitError> {
    let compact = split_as(bytes, Form::Compact);
    if compact.as_ref().is_ok_and(|components| !is_extended(components)) {
        return compact;
    }
    match split_as(bytes, Form::Extended) {
        Ok(components) if is_extended(&components) => Ok(components),
        Err(error) if starts_extended(bytes) => Err(error),
        Ok(_) | Err(_) => compact,
    }
}

fn is_extended(components: &[RawComponent]) -> bool {
    let header = components.iter().find(|component| component.tag() == ComponentTag::Header);
    header.is_some_and(|raw| HeaderComponent::parse(raw).is_ok_and(|header| header.form() == Form::Extended))
}

fn starts_extended(bytes: &[u8]) -> bool {
    RawComponent::parse_prefix(bytes, Form::Compact).is_ok_and(|first| is_extended(&[first]))
}

/// Each tag stands once, which also bounds the number of components.
fn split_as(bytes: &[u8], form: Form) -> Result<Vec<RawComponent>, SplitError> {
    let mut components: Vec<RawComponent> = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let component = RawComponent::parse_prefix(rest, form).map_err(SplitError::Malformed)?;
        if components.iter().any(|other| other.tag() == component.tag()) {
            return Err(SplitError::Duplicate(component.tag()));
        }
        rest = &rest[component.bytes().len()..];
        components.push(component);
    }
    Ok(components)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{CapBuilder, Descriptor};

    const PACKAGE: Aid = Aid::constant(&[0xF0, 0x4F, 0x54, 0x53, 0x4D, 1, 5]);

    fn module(number: u8) -> Aid {
        Aid::new(&[0xF0, 0x4F, 0x54, 0x53, 0x4D, 1, 5, 1, number]).unwrap()
    }

    fn components(builder: &CapBuilder) -> Vec<RawComponent> {
        builder.components().unwrap()
    }

    fn joined(components: &[RawComponent]) -> Vec<u8> {
        components.iter().flat_map(|component| component.bytes().to_vec()).collect()
    }

    /// req: P-5.4.1.b
    #[test]
    fn lists_every_module() {
        let builder =
            CapBuilder::new(PACKAGE).version(2, 7).applet(module(1)).applet(module(2)).applet(module(3));
        let cap = builder.build_cap().unwrap();
        let load_file = LoadFile::parse(&cap.load_file_data_block(Descriptor::Omit)).unwrap();
        assert_eq!(load_file.modules(), [module(1), module(2), module(3)]);
        assert_eq!((load_file.package_aid(), load_file.package_version()), (PACKAGE, cap.package_version()));
        let listed: Vec<Aid> = cap.applets().iter().map(|applet| applet.aid).collect();
        assert_eq!(listed, load_file.modules());
    }

    #[test]
    fn order_debug_and_unknown_components_do_not_matter() {
        let builder = CapBuilder::new(PACKAGE).applet(module(1)).debug(vec![1, 2, 3]).custom_component(
            200,
            PACKAGE,
            vec![9; 40],
        );
        let mut parts = components(&builder);
        let expected = LoadFile::parse(&joined(&parts)).unwrap();
        parts.reverse();
        parts.push(RawComponent::frame(ComponentTag::from_number(99), Form::Compact, &[1, 2]).unwrap());
        let found = LoadFile::parse(&joined(&parts)).unwrap();
        assert_eq!(found.modules(), expected.modules());
        assert_eq!(found.sizes(), expected.sizes());
        assert!(found.components().contains(&ComponentTag::Reserved(99)));
    }

    #[test]
    fn what_is_no_package_is_refused() {
        let parts = components(&CapBuilder::new(PACKAGE).applet(module(1)));
        let without = |tag| {
            let kept: Vec<RawComponent> = parts.iter().filter(|part| part.tag() != tag).cloned().collect();
            LoadFile::parse(&joined(&kept))
        };
        assert_eq!(LoadFile::parse(&[]), Err(LoadFileError::Empty));
        assert_eq!(without(ComponentTag::Header), Err(LoadFileError::NoHeader));
        assert_eq!(without(ComponentTag::Method), Err(LoadFileError::Missing(ComponentTag::Method)));
        let mut twice = parts.clone();
        twice.push(parts[2].clone());
        assert_eq!(LoadFile::parse(&joined(&twice)), Err(LoadFileError::Duplicate(parts[2].tag())));
        let same = components(&CapBuilder::new(PACKAGE).applet(module(1)).applet(module(1)));
        assert_eq!(LoadFile::parse(&joined(&same)), Err(LoadFileError::DuplicateModule(module(1))));
        let whole = joined(&parts);
        for cut in 1..whole.len() {
            // A cut between components leaves the last ones away, which only the Method and Header mind.
            let _ = LoadFile::parse(&whole[..cut]);
        }
        assert!(matches!(LoadFile::parse(&whole[..whole.len() - 1]), Err(LoadFileError::Malformed(_))));
    }

    fn any_builder() -> impl Strategy<Value = CapBuilder> {
        let format = prop_oneof![Just(Format::V2_1), Just(Format::V2_2), Just(Format::V2_3)];
        (format, any::<bool>(), 0u8..5, 0usize..70_000, any::<bool>(), any::<(u8, u8)>()).prop_map(
            |(format, extended, applets, padding, with, (major, minor))| {
                let form = if extended && format == Format::V2_3 { Form::Extended } else { Form::Compact };
                let padding = if form == Form::Compact { padding.min(60_000) } else { padding };
                let descriptor = if with { Descriptor::Include } else { Descriptor::Omit };
                let builder = CapBuilder::new(PACKAGE)
                    .version(major, minor)
                    .format(format)
                    .form(form)
                    .padding(padding)
                    .descriptor(descriptor);
                (0..applets).fold(builder, |builder, number| builder.applet(module(number)))
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// What the host reads from a file is what the card reads from its data block.
        #[test]
        fn host_and_card_agree(builder in any_builder()) {
            let cap = builder.build_cap().unwrap();
            crate::verify(&cap).unwrap();
            for descriptor in [Descriptor::Include, Descriptor::Omit] {
                let load_file = LoadFile::parse(&cap.load_file_data_block(descriptor)).unwrap();
                let modules: Vec<Aid> = cap.applets().iter().map(|applet| applet.aid).collect();
                prop_assert_eq!(load_file.modules(), &modules[..]);
                prop_assert_eq!(load_file.package_aid(), cap.package_aid());
                prop_assert_eq!(load_file.package_version(), cap.package_version());
                prop_assert_eq!(load_file.imports(), cap.imports());
                prop_assert_eq!(load_file.sizes(), cap.sizes());
                prop_assert_eq!((load_file.format(), load_file.form()), (cap.format(), cap.form()));
            }
        }
    }

    #[test]
    fn fuzz_load_file() {
        let built = CapBuilder::new(PACKAGE).applet(module(1)).build_cap().unwrap();
        let extended = CapBuilder::new(PACKAGE)
            .format(Format::V2_3)
            .form(Form::Extended)
            .static_resource(1, vec![1, 2, 3])
            .build_cap()
            .unwrap();
        let blocks = [built, extended].map(|cap| cap.load_file_data_block(Descriptor::Include));
        bolero::check!().with_type::<(bool, Vec<(u16, u8)>, Vec<u8>)>().for_each(
            |(which, changes, plain)| {
                let mut bytes = blocks[usize::from(*which)].clone();
                for (at, value) in changes {
                    let at = usize::from(*at) % bytes.len();
                    bytes[at] ^= value;
                }
                drop(LoadFile::parse(&bytes));
                drop(LoadFile::parse(plain));
            },
        );
    }
}
