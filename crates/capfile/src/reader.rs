//! Reading a component's info item from beginning to end, with every bound checked.

use std::borrow::Cow;

use tsm_iso7816::Aid;

use crate::{ComponentTag, Fault, PackageInfo, PackageVersion};

/// A position in a component. Each `what` is a noun phrase for the sentence of a fault.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    component: ComponentTag,
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(component: ComponentTag, bytes: &'a [u8]) -> Self {
        Self { component, bytes, offset: 0 }
    }

    pub(crate) const fn offset(&self) -> usize {
        self.offset
    }

    pub(crate) const fn remaining(&self) -> usize {
        self.bytes.len() - self.offset
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.remaining() == 0
    }

    pub(crate) fn fault(&self, reason: impl Into<Cow<'static, str>>) -> Fault {
        self.fault_at(self.offset, reason)
    }

    pub(crate) fn fault_at(&self, offset: usize, reason: impl Into<Cow<'static, str>>) -> Fault {
        Fault::new(self.component, offset, reason)
    }

    pub(crate) fn take(&mut self, length: usize, what: &'static str) -> Result<&'a [u8], Fault> {
        if length > self.remaining() {
            let reason = format!("{what} needs {length} bytes and {} are left", self.remaining());
            return Err(self.fault(reason));
        }
        let taken = &self.bytes[self.offset..self.offset + length];
        self.offset += length;
        Ok(taken)
    }

    pub(crate) fn u1(&mut self, what: &'static str) -> Result<u8, Fault> {
        Ok(self.take(1, what)?[0])
    }

    pub(crate) fn u2(&mut self, what: &'static str) -> Result<u16, Fault> {
        let taken = self.take(2, what)?;
        Ok(u16::from_be_bytes([taken[0], taken[1]]))
    }

    pub(crate) fn u4(&mut self, what: &'static str) -> Result<u32, Fault> {
        let taken = self.take(4, what)?;
        Ok(u32::from_be_bytes([taken[0], taken[1], taken[2], taken[3]]))
    }

    /// A length byte and an AID.
    pub(crate) fn aid(&mut self, what: &'static str) -> Result<Aid, Fault> {
        let start = self.offset;
        let length = usize::from(self.u1(what)?);
        let bytes = self.take(length, what)?;
        Aid::new(bytes).map_err(|error| self.fault_at(start, format!("{what} is not an AID: {error}")))
    }

    /// JCVM 6.4, package_info.
    pub(crate) fn package_info(&mut self, what: &'static str) -> Result<PackageInfo, Fault> {
        let minor = self.u1(what)?;
        let major = self.u1(what)?;
        let aid = self.aid(what)?;
        Ok(PackageInfo { aid, version: PackageVersion { major, minor } })
    }

    /// A length byte and so many bytes.
    pub(crate) fn counted(&mut self, what: &'static str) -> Result<&'a [u8], Fault> {
        let length = usize::from(self.u1(what)?);
        self.take(length, what)
    }

    pub(crate) fn finish(&self) -> Result<(), Fault> {
        if self.is_empty() {
            return Ok(());
        }
        Err(self.fault(format!("{} bytes follow the end of the component", self.remaining())))
    }
}
