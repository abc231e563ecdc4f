//! Full-size command wraps per second, beside what the primitives alone allow.
fn main() {}
