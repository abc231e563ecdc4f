//! An application whose code this card cannot run.

use tsm_iso7816::{CommandApdu, StatusWord};

use crate::applet::{Answer, Applet, AppletContext};

/// Selectable, and answers 6D00 to everything.
pub struct Inert;

impl Applet for Inert {
    fn process(&mut self, _context: &mut AppletContext<'_>, _command: &CommandApdu) -> Answer {
        Err(StatusWord::INSTRUCTION_NOT_SUPPORTED)
    }
}
