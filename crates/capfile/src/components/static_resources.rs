//! StaticResources component (JCVM 3.1, 6.16), since format 2.3.

use std::collections::BTreeSet;

use crate::reader::Reader;
use crate::{ComponentTag, Fault, RawComponent};

/// A named piece of data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticResource {
    /// Its identifier.
    pub id: u16,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// The resources of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticResourcesComponent {
    /// In the order of the file.
    pub resources: Vec<StaticResource>,
}

impl StaticResourcesComponent {
    pub(crate) fn parse(component: &RawComponent) -> Result<Self, Fault> {
        let mut reader = Reader::new(ComponentTag::StaticResources, component.info());
        let count = reader.u2("the resource count")?;
        let mut directory = Vec::new();
        let mut known = BTreeSet::new();
        for _ in 0..count {
            let offset = reader.offset();
            let id = reader.u2("a resource's identifier")?;
            let size = reader.u4("a resource's size")?;
            if !known.insert(id) {
                return Err(reader.fault_at(offset, format!("resource {id} stands more than once")));
            }
            if size > 32_767 {
                return Err(reader.fault_at(offset + 2, format!("a resource of {size} bytes passes 32767")));
            }
            directory.push((id, size as usize));
        }
        let mut resources = Vec::new();
        for (id, size) in directory {
            resources.push(StaticResource { id, bytes: reader.take(size, "a resource")?.to_vec() });
        }
        reader.finish()?;
        Ok(Self { resources })
    }
}
