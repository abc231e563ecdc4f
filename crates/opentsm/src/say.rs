//! Printing to whoever reads the program's output.

use std::fmt::Arguments;
use std::io::Write;

/// Prints a line. A reader who has seen enough (`opentsm ... | head`) is no error: what the program does goes on.
macro_rules! say {
    ($($text:tt)*) => { $crate::say::line(format_args!($($text)*)) };
}

/// What `say!` does.
pub fn line(text: Arguments<'_>) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}
