//! Java Card CAP files (Java Card Virtual Machine Specification, chapter 6; editions 2.1.1 to 3.1,
//! file formats 2.1 to 2.3, compact and extended).
//!
//! [`CapFile`] reads what a converter wrote and gives what a management system needs of it: AIDs, versions,
//! imports, sizes, the load file data block, its hashes and [`LoadBlocks`]. [`verify`] checks the structure
//! and refuses with a sentence that says where and why. [`LoadFile`] is the card's side: it reads a load
//! file data block as a card does. [`CapBuilder`] writes small valid CAP files.
//!
//! ```text
//! archive bytes --CapFile::parse--> CapFile --load_file_data_block--> bytes --LoadBlocks--> LOAD commands
//!                                      |                                |
//!                                   verify                      LoadFile::parse (on the card)
//! ```
//!
//! This crate never runs bytecode, never resolves a reference into another package, and reads no file,
//! clock or randomness. Memory is bounded by the input and by [`MAX_CAP_BYTES`]; no input makes it panic.

mod archive;
mod builder;
mod bytecode;

mod cap_file;
mod component;
pub mod components;
mod error;
mod load_blocks;
mod load_file;
mod reader;
mod verify;

pub use archive::{MAX_CAP_BYTES, Manifest};
pub use builder::{BuildError, CapBuilder, Compression};
pub use cap_file::{CapFile, Descriptor, StaticSizes};
pub use component::{ComponentTag, Form, Format, PackageInfo, PackageVersion, RawComponent};
pub use error::{CapError, Fault};
pub use load_blocks::{DapBlock, LoadBlock, LoadBlocks, LoadBlocksError, LoadImage, LoadImageError};
pub use load_file::{LoadFile, LoadFileError};
pub use verify::{Refused, Remark, verify};
