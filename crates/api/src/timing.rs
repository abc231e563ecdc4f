//! The `server-timing` header: how long a server worked on a request.

/// The header's name.
pub const HEADER: &str = "server-timing";

/// Writes the header's value from microseconds.
pub fn write(server_us: u64) -> String {
    format!("app;dur={}.{:03}", server_us / 1000, server_us % 1000)
}

/// Reads microseconds from the header's value; `None` when it is not in our form.
pub fn read(value: &str) -> Option<u64> {
    let (whole, thousandths) = value.strip_prefix("app;dur=")?.split_once('.')?;
    if thousandths.len() != 3 {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    whole.checked_mul(1000)?.checked_add(thousandths.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn microseconds_round_trip() {
        for us in [0, 1, 999, 1000, 1_234_567] {
            assert_eq!(read(&write(us)), Some(us));
        }
        for bad in [
            "",
            "app;dur=",
            "app;dur=1",
            "app;dur=1.2",
            "db;dur=1.000",
            "app;dur=-1.000",
            "app;dur=99999999999999999999.000",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
