//! What can be wrong with a CAP file.

use std::borrow::Cow;

use crate::ComponentTag;

/// What is wrong, in which component and where.
///
/// The offset counts from the start of the component's info item, as the specification's own offsets do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the {component} component, at offset {offset}: {reason}")]
pub struct Fault {
    /// The component.
    pub component: ComponentTag,
    /// The offset into its info item.
    pub offset: usize,
    /// The rest of the sentence.
    pub reason: Cow<'static, str>,
}

impl Fault {
    pub(crate) fn new(component: ComponentTag, offset: usize, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { component, offset, reason: reason.into() }
    }
}

/// Why bytes are not a CAP file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CapError {
    /// Neither a ZIP archive nor a load file data block.
    #[error("these bytes are neither a ZIP archive nor the components of a CAP file")]
    NotACapFile,
    /// The archive is damaged or contradicts itself.
    #[error("the archive cannot be read: {0}")]
    Archive(String),
    /// The archive holds more than a CAP file can.
    #[error("the archive is larger than a CAP file can be ({limit} {of})")]
    TooLarge {
        /// The limit that is passed.
        limit: usize,
        /// What is counted.
        of: &'static str,
    },
    /// Components of two packages in one archive.
    #[error("the archive holds two CAP files: components stand in both {first:?} and {second:?}")]
    TwoCapFiles {
        /// The folder of the first component.
        first: String,
        /// Another folder with a component.
        second: String,
    },
    /// The same component twice.
    #[error("the {0} component stands more than once")]
    Duplicate(ComponentTag),
    /// A component that every CAP file has is not there.
    #[error("the {0} component is missing")]
    Missing(ComponentTag),
    /// A component that no edition up to 3.1 defines.
    #[error("component tag {0} is reserved and belongs to no known file format")]
    Reserved(u8),
    /// A component is malformed.
    #[error(transparent)]
    Malformed(#[from] Fault),
}
