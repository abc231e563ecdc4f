//! GET STATUS (GPC 2.3.1, 11.4).

/// Where a GET STATUS that did not fit its response goes on.
pub(crate) struct Page;
