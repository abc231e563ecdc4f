//! An applet of a module that this build has no behaviour for: it can be loaded, installed,
//! selected and deleted, and knows no command.

use tsm_iso7816::{CommandApdu, StatusWord};

use crate::applet::{Answer, Applet, AppletContext};

/// The behaviour of an unknown module.
#[derive(Debug, Clone, Copy, Default)]
pub struct Inert;

impl Applet for Inert {
    fn process(&mut self, _context: &mut AppletContext<'_>, _command: &CommandApdu) -> Answer {
        Err(StatusWord::INSTRUCTION_NOT_SUPPORTED)
    }
}
