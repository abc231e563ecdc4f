//! The components of a CAP file, one module each (JCVM 3.1, 6.4 to 6.16).
//!
//! Each parser reads its whole info item and refuses what is cut, over-long or out of the item's own range.
//! What needs a second component is [`verify`](crate::verify)'s.

mod applet;
mod class;
mod constant_pool;
mod descriptor;
mod directory;
mod export;
mod header;
mod import;
mod method;
mod reference_location;
mod static_field;
mod static_resources;

pub use applet::{AppletComponent, AppletEntry};
pub use class::{
    ClassComponent, ClassInfo, ImplementedInterface, InterfaceInfo, RemoteInterfaceInfo, RemoteMethod,
};
pub use constant_pool::{ClassRef, Constant, ConstantPoolComponent, StaticRef};
pub use descriptor::{
    ClassDescriptor, DescriptorComponent, FieldDescriptor, FieldRef, MethodDescriptor, TypeDescriptors,
};
pub use directory::{CustomComponent, DirectoryComponent};
pub use export::{ClassExport, ExportComponent};
pub use header::{HeaderComponent, HeaderFlags};
pub use import::ImportComponent;
pub use method::{ExceptionHandler, MethodBlock, MethodComponent, MethodHeader, MethodLocation};
pub use reference_location::{BlockReferences, ReferenceLocationComponent};
pub use static_field::{ArrayInit, StaticFieldComponent};
pub use static_resources::{StaticResource, StaticResourcesComponent};
