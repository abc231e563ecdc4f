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
