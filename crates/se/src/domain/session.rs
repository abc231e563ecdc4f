//! The secure channel session of a logical channel.

/// Where a channel stands between INITIALIZE UPDATE and the end of its session.
#[derive(Default)]
pub(crate) enum Session {
    /// No session.
    #[default]
    None,
}
