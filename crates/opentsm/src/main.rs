//! OpenTSM: transit cards on phones, every role in one program.

mod apdu_words;
mod doctor;
mod report;

fn main() {}
